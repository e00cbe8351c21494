"""Standard error without what the user can do nothing about."""

import logging
import warnings

__all__ = ["quiet"]


def quiet() -> None:
    """Leave standard error to what the user can act on."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # the frozen backbone must be in eval mode
    warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode")
    # a resumed run has a folder of its own
    warnings.filterwarnings("ignore", message="The dirpath has changed from")
    # Lightning 2.6 with torch 2.9 and later: an internal call
    warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
    # every process logs the same: the figures are of all processes already
    warnings.filterwarnings("ignore", message=r"It is recommended to use `self\.log\(")
    # checkpoints were first written by Lightning's own callback, of which nothing is needed to go on
    warnings.filterwarnings(
        "ignore",
        message=r"Be aware that when using `ckpt_path`.*callbacks: \[\"ModelCheckpoint\{[^}]*\}\"\]\.$",
    )
