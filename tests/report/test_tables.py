"""Tables say what the scores say."""

import io
from typing import Any

from rich.console import Console
from rich.table import Table

from uibe.report.tables import history_table, score_table


def rows(table: Table) -> list[list[str]]:
    """Cells of the printed table, line by line."""
    stream = io.StringIO()
    Console(file=stream, width=200, no_color=True).print(table)
    lines = [line for line in stream.getvalue().splitlines() if "│" in line or "┃" in line]
    return [[cell.strip() for cell in line.replace("┃", "│").strip("│").split("│")] for line in lines]


def scores(s1: float, s2: float, interpretable: int = 3, unique: int = 2) -> dict[str, Any]:
    return {"S1": s1, "S2": s2, "interpretable": interpretable, "unique": unique}


def test_history_has_a_row_an_epoch_and_two_columns_a_name() -> None:
    table = history_table(
        [
            {"epoch": 0, "learned": scores(1.0, 0.5), "natural": scores(0.25, 0.125)},
            {"epoch": 5, "learned": scores(12.345, 6.0), "natural": scores(0.25, 0.125)},
        ],
        quantile=0.05,
    )
    assert rows(table) == [
        ["epoch", "natural at 0.05 S1", "natural at 0.05 S2", "own thresholds S1", "own thresholds S2"],
        ["0", "0.25", "0.12", "1.00", "0.50"],
        ["5", "0.25", "0.12", "12.35", "6.00"],
    ]


def test_scores_have_a_row_for_all_and_one_for_each_category() -> None:
    table = score_table(
        {
            "learned": {**scores(3.0, 2.0, 30, 20), "categories": {"object": scores(1.0, 0.5, 10, 5)}},
            "natural": {**scores(1.0, 1.0, 7, 6), "categories": {}},
        }
    )
    assert rows(table) == [
        ["basis", "category", "S1", "S2", "interpretable", "unique"],
        ["own thresholds", "all", "3.00", "2.00", "30", "20"],
        ["own thresholds", "object", "1.00", "0.50", "10", "5"],
        ["natural at quantile", "all", "1.00", "1.00", "7", "6"],
    ]
