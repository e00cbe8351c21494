"""Side effects of training: metrics, pictures, tables."""

from callbacks.board import BoardCallback
from callbacks.checkpoint import RunCheckpoint
from callbacks.criteria import CriteriaCallback
from callbacks.dissection import DissectionCallback
from callbacks.figures import FiguresCallback
from callbacks.forming import FormingCallback
from callbacks.summary import SummaryCallback

__all__ = [
    "BoardCallback",
    "CriteriaCallback",
    "DissectionCallback",
    "FiguresCallback",
    "FormingCallback",
    "RunCheckpoint",
    "SummaryCallback",
]
