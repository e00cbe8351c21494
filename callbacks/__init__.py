"""Side effects of training: metrics, pictures, tables."""

from callbacks.checkpoint import RunCheckpoint
from callbacks.criteria import CriteriaCallback
from callbacks.dissection import DissectionCallback
from callbacks.figures import FiguresCallback
from callbacks.summary import SummaryCallback

__all__ = ["CriteriaCallback", "DissectionCallback", "FiguresCallback", "RunCheckpoint", "SummaryCallback"]
