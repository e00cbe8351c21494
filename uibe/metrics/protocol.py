"""One evaluation, the same in training and from a checkpoint: threshold policies, natural basis, scores."""

from typing import Any, Literal, NamedTuple, get_args

import torch

from uibe.functional.detectors import Detectors
from uibe.functional.scores import DissectionScores, score_curves
from uibe.functional.tally import UNIONS, Union
from uibe.metrics.dissection import (
    Dissection,
    dissect,
    mean_firing_rate,
    sweep_thresholds,
    with_quantile_thresholds,
)
from uibe.metrics.tallies import LabelledFeatures

__all__ = [
    "AS_OFTEN",
    "POLICIES",
    "EvaluationProtocol",
    "Policy",
    "curves",
    "describe",
    "detector_sets",
    "evaluate",
]

Policy = Literal["learned", "quantile"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
AS_OFTEN = "natural_as_often"
"""The natural basis where it fires as often as the learned one at its own thresholds does on average."""


class EvaluationProtocol(NamedTuple):
    """How detectors are evaluated.

    Attributes:
        policies: `learned` takes the basis's own thresholds; `quantile` NetDissect's.
        quantile: share of train pixels that exceed a quantile threshold.
        union: rule for a detector's area.
        natural: whether to evaluate the natural basis, at the quantile, beside the learned one.
    """

    policies: tuple[Policy, ...] = POLICIES
    quantile: float = 0.005
    union: Union = "annotated"
    natural: bool = True

    def check(self) -> "EvaluationProtocol":
        """Return the protocol itself.

        Raises:
            ValueError: if a policy, the union or the quantile is out of range.
        """
        if not self.policies or set(self.policies) - set(POLICIES):
            raise ValueError(f"thresholds: expected some of {', '.join(POLICIES)}, got {list(self.policies)}")
        if self.union not in UNIONS:
            raise ValueError(f"union: expected one of {', '.join(UNIONS)}, got {self.union!r}")
        if not 0 < self.quantile < 1:
            raise ValueError(f"quantile: expected a share between 0 and 1, got {self.quantile}")
        return self


def evaluate(
    learned: Detectors,
    data: LabelledFeatures,
    protocol: EvaluationProtocol,
    known: Dissection | None = None,
    as_often: bool = False,
) -> dict[str, Dissection]:
    """Dissect a basis under each threshold policy, and the natural basis beside it, in one pass.

    Args:
        learned: the basis in raw feature space.
        data: labelled features.
        protocol: policies, quantile, union.
        known: the natural basis's dissection where it is known already; it does not change.
        as_often: see `detector_sets`.

    Returns:
        Dissections by name: the policies, then `natural`.
    """
    asked = protocol._replace(natural=protocol.natural and known is None)
    sets = detector_sets(learned, data, asked, as_often)
    results = dissect(sets, data, protocol.union)
    return {**results, "natural": known} if protocol.natural and known is not None else results


def detector_sets(
    learned: Detectors, data: LabelledFeatures, protocol: EvaluationProtocol, as_often: bool = False
) -> dict[str, Detectors]:
    """What a protocol evaluates: the basis under each threshold policy, then `natural` if it is wanted.

    Args:
        learned: the basis in raw feature space.
        data: its train split sets quantile thresholds.
        protocol: policies, quantile, natural.
        as_often: whether to add `natural_as_often`, with which the basis at its own thresholds can be
            compared: the natural basis at the quantile that is the learned one's mean firing rate.
    """
    sets: dict[str, Detectors] = {}
    for policy in protocol.policies:
        quantile = policy == "quantile"
        sets[policy] = (
            with_quantile_thresholds(data, learned.directions, protocol.quantile) if quantile else learned
        )
    if protocol.natural:
        natural = torch.eye(learned.directions.shape[1], device=learned.directions.device)
        shares = {"natural": protocol.quantile}
        if as_often and "learned" in sets:
            shares[AS_OFTEN] = mean_firing_rate(data, learned)
        # a basis that fires nowhere or everywhere is compared with none
        shares = {name: share for name, share in shares.items() if 0 < share < 1}
        thresholds = sweep_thresholds(data, natural, list(shares.values()))
        sets.update({name: Detectors(natural, each) for name, each in zip(shares, thresholds, strict=True)})
    return sets


def describe(dissection: Dissection) -> dict[str, Any]:
    """Scores as plain Python for JSON and checkpoints: `S1, S2, interpretable, unique`, per category."""
    per_category = {name: _plain(scores) for name, scores in dissection.category_scores().items()}
    return {
        **_plain(dissection.scores()),
        "firing_rate": float(dissection.firing_rate.mean()),
        "categories": per_category,
    }


def curves(dissection: Dissection) -> dict[str, list[float] | list[int]]:
    """Numbers of detectors and of distinct labels that reach each IoU xi, in steps of 0.01."""
    cuts = torch.arange(101, dtype=torch.float64) / 100
    detectors, labels = score_curves(dissection.iou_val, dissection.labels, cuts)
    return {"xi": cuts.tolist(), "detectors": detectors.tolist(), "labels": labels.tolist()}


def _plain(scores: DissectionScores) -> dict[str, float | int]:
    return dict(scores._asdict())
