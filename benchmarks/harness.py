"""What all benchmarks share: interleaved timing, ratios within a round, a table and a JSON file.

A benchmark's figure is a ratio to a limit that was timed in the same round of the same run, so that it can
be compared between machines and a busy machine disturbs both sides alike.
"""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

__all__ = ["Spread", "finish", "measure", "ratios", "spread", "use_threads"]


class Spread(NamedTuple):
    """Median and quartiles of repeated measurements."""

    median: float
    low: float
    high: float

    def show(self, scale: float = 1.0, digits: int = 2) -> str:
        """Median with quartiles, for a table."""
        median, low, high = (f"{value * scale:.{digits}f}" for value in self)
        return f"{median} ({low}-{high})"


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles; of one value, that value thrice."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def measure(
    cases: Mapping[str, Callable[[], object]], repeats: int, warmup: int = 1
) -> dict[str, list[float]]:
    """Seconds of each case, `repeats` times, in rounds that run every case once.

    Args:
        cases: what to time, by name.
        repeats: rounds that count.
        warmup: rounds before those.
    """
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for turn in track(range(warmup + repeats), "measuring", transient=True):
        for name, run in cases.items():
            start = time.perf_counter()
            run()
            if turn >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratios(seconds: Sequence[float], limit: Sequence[float]) -> Spread:
    """Spread of the ratio to the limit of the same round."""
    return spread([one / other for one, other in zip(seconds, limit, strict=True)])


def use_threads(threads: int | None) -> int:
    """Set torch's threads, all cores by default, and return their number."""
    torch.set_num_threads(threads or os.cpu_count() or 1)
    return torch.get_num_threads()


def finish(
    title: str, rows: Sequence[Mapping[str, Any]], options: Mapping[str, Any], json_file: str | None
) -> None:
    """Print rows as a table and, if asked for, write them with options and machine as JSON.

    A `Spread` is shown as median and quartiles.
    """
    table = Table(title=title)
    for name in rows[0]:
        table.add_column(
            name.replace("_", " "), justify="left" if isinstance(rows[0][name], str) else "right"
        )
    for row in rows:
        table.add_row(*(_shown(value) for value in row.values()))
    console = Console(soft_wrap=True)
    console.print(table)
    machine = _machine()
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()))
    if json_file is not None:
        plain = [{name: _plain(value) for name, value in row.items()} for row in rows]
        content = {"title": title, "options": dict(options), "machine": machine, "rows": plain}
        Path(json_file).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _shown(value: object) -> str:
    if isinstance(value, Spread):
        return value.show()
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _plain(value: object) -> object:
    return value._asdict() if isinstance(value, Spread) else value


def _machine() -> dict[str, Any]:
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
