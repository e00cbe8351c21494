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
        [
            "epoch",
            *("natural at 5% S1", "natural at 5% S2"),
            *("learned, own thresholds S1", "learned, own thresholds S2"),
        ],
        ["0", "0.25", "0.12", "1.00", "0.50"],
        ["5", "0.25", "0.12", "12.35", "6.00"],
    ]


def test_scores_have_a_row_for_all_and_one_for_each_category() -> None:
    table = score_table(
        {
            "learned": {
                **scores(3.0, 2.0, 30, 20),
                "firing_rate": 0.0641,
                "categories": {"object": scores(1.0, 0.5, 10, 5)},
            },
            "quantile": {**scores(2.0, 1.5, 9, 8), "firing_rate": 0.005, "categories": {}},
            "natural": {**scores(1.0, 1.0, 7, 6), "firing_rate": 0.004, "categories": {}},
            "natural_as_often": {**scores(2.5, 1.0, 8, 7), "firing_rate": 0.064, "categories": {}},
        },
        quantile=0.005,
    )
    assert rows(table) == [
        ["basis", "category", "fires on", "S1", "S2", "interpretable", "unique"],
        ["learned at 0.5%", "all", "0.5%", "2.00", "1.50", "9", "8"],
        ["natural at 0.5%", "all", "0.4%", "1.00", "1.00", "7", "6"],
        ["learned, own thresholds", "all", "6.4%", "3.00", "2.00", "30", "20"],
        ["", "object", "", "1.00", "0.50", "10", "5"],
        ["natural at 6.4%", "all", "6.4%", "2.50", "1.00", "8", "7"],
    ]
