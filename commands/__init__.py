"""What `evaluate.py` can do with a checkpoint, a module for each command."""

from commands.compare import compare
from commands.explain import explain
from commands.export import export
from commands.report import report
from commands.score import score

__all__ = ["compare", "explain", "export", "report", "score"]
