"""What a split misses of a logit, in words."""

__all__ = ["EXACT", "LARGE", "missed_note"]

LARGE = 0.1
"""Share of the logit above which a residual is told loudly."""
EXACT = 1e-4
"""Share of the logit below which a residual is rounding."""


def missed_note(logit: float, residual: float, layer: str, num_directions: int, num_features: int) -> str:
    """A sentence on a residual above a tenth of the logit, `|residual| > 0.1 |logit|`; else empty.

    Args:
        logit: what the network says.
        residual: what the directions do not explain of it.
        layer: where the network is cut.
        num_directions: I; fewer than D leave a residual of their own.
        num_features: D.

    Example:
        >>> missed_note(2.0, -2.12, "blocks.6", 320, 320)[:61]
        'the split misses 106% of this logit: layers after blocks.6 ar'
        >>> missed_note(2.0, 0.1, "blocks.6", 320, 320)
        ''
    """
    if abs(residual) <= LARGE * abs(logit):
        return ""
    share = f"{abs(residual / logit):.0%} of this logit" if logit else "all of this logit"
    if num_directions < num_features:
        why = f"{num_directions} directions do not span {num_features} channels; take a complete basis"
    else:
        why = f"layers after {layer} are not linear; cut at the last layer before pooling for an exact split"
    return f"the split misses {share}: {why}"
