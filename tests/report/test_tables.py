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


def test_history_has_a_row_an_epoch_and_a_column_a_name() -> None:
    table = history_table(
        [
            {"epoch": 0, "learned": scores(1.0, 0.5), "natural": scores(0.25, 0.125)},
            {
                "epoch": 5,
                "learned": {**scores(12.345, 6.0), "firing_rate": 0.0441},
                "natural": {**scores(0.25, 0.125), "firing_rate": 0.0042},
            },
        ],
        quantile=0.05,
    )
    assert rows(table) == [
        ["", "", "learned,"],
        ["epoch", "natural at 5%", "own thresholds"],
        ["0", "0.25 / 0.12", "1.00 / 0.50"],
        ["5", "0.25 / 0.12 on 0.42%", "12.35 / 6.00 on 4.4%"],
    ]


def test_history_is_whole_on_80_columns_with_large_scores() -> None:
    entry = {
        "epoch": 119,
        "quantile": {**scores(60.93, 28.39), "firing_rate": 0.005},
        "natural": {**scores(19.84, 2.05), "firing_rate": 0.0042},
        "learned": {**scores(104.86, 6.43), "firing_rate": 0.0213},
    }
    table = history_table([entry], 0.005)
    stream = io.StringIO()
    Console(file=stream, width=80, no_color=True, soft_wrap=True).print(table)
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in stream.getvalue()
    for text in (
        *("learned at 0.5%", "natural at 0.5%", "own thresholds"),
        *("60.93 / 28.39 on 0.5%", "19.84 / 2.05 on 0.42%", "104.86 / 6.43 on 2.1%"),
    ):
        assert any(text in line for line in lines)


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
