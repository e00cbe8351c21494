"""A run's card: what it learned from what, how it came out, and how to evaluate it."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from uibe.report.markdown import cell, code, table

__all__ = ["changed_options", "commands", "run_card"]


def commands(checkpoint: str, folder: str, explain: str | None = "") -> list[str]:
    """What to do with a checkpoint, as lines for a shell; `PHOTO` stands for a file of the user's.

    Args:
        checkpoint: its path.
        folder: where the results go, each in a folder of its own.
        explain: a comment on `explain`; None leaves that command out.

    Example:
        >>> commands("a b.ckpt", "out")[0]
        "python evaluate.py score --ckpt_path 'a b.ckpt' --out out/score"
        >>> commands("a.ckpt", "out", "inexact here")[2]
        'python evaluate.py explain --ckpt_path a.ckpt --image PHOTO --out out/explain  # inexact here'
        >>> len(commands("a.ckpt", "out", None))
        3
    """
    path = shlex.quote(checkpoint)
    given = {"score": "", "report": "", "explain": " --image PHOTO", "export": ""}
    lines = {
        what: f"python evaluate.py {what} --ckpt_path {path}{more} --out {shlex.quote(f'{folder}/{what}')}"
        for what, more in given.items()
    }
    if explain is None:
        del lines["explain"]
    elif explain:
        lines["explain"] += f"  # {explain}"
    return list(lines.values())


def changed_options(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Options that differ from their defaults, or have none, in the order given.

    Example:
        >>> changed_options({"lr": 0.1, "seed": 0, "root": "x"}, {"lr": 0.003, "seed": 0})
        {'lr': 0.1, 'root': 'x'}
    """
    return {name: value for name, value in given.items() if name not in defaults or value != defaults[name]}


def run_card(
    facts: Mapping[str, object],
    options: Mapping[str, object],
    scores: Mapping[str, Mapping[str, Any]],
    lines: Sequence[str],
) -> str:
    r"""The card in Markdown; parts that hold nothing are left out.

    Args:
        facts: what the run works on, by name.
        options: those that differ from their defaults, by name.
        scores: of each basis, as `uibe.metrics.protocol.describe` gives them; the natural one among them.
        lines: commands.

    Example:
        >>> print(run_card({"layer": "a|b"}, {}, {}, []))
        | run |  |
        | --- | --- |
        | layer | a\|b |
        <BLANKLINE>
    """
    parts = [table(["run", ""], [[name, cell(value)] for name, value in facts.items()])]
    if scores:
        keys = ("S1", "S2", "interpretable", "unique", "firing_rate")
        rows = [[name, *(f"{values[key]:.4g}" for key in keys)] for name, values in scores.items()]
        heads = ["logged as", "S1", "S2", "interpretable", "distinct labels", "firing rate"]
        parts.append(table(heads, rows))
    if options:
        rows = [[code(name), cell(value)] for name, value in options.items()]
        parts.append(table(["option", "not its default"], rows))
    if lines:
        # indented, as TensorBoard's Markdown leaves the fence of a code block where it stands
        parts.append("\n".join(["To evaluate the last checkpoint:", "", *(f"    {line}" for line in lines)]))
    return "\n\n".join(parts) + "\n"
