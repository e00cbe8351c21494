"""Tables and figures of a comparison show its numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.metrics.fakes import FakeFeatures
from tests.metrics.test_replicates import CONCEPTS, images
from uibe.functional.intervals import interval
from uibe.metrics.comparison import Basis, Comparison, compare, gain_by_cause, readings
from uibe.report.comparison import comparison_markdown, comparison_rows, differences_document
from uibe.report.comparison_figures import (
    categories_figure,
    cut_figure,
    firing_figure,
    histogram_figure,
    save_figure,
)
from uibe.report.matrix import matrix_markdown
from uibe.report.titles import share_text

BASES = {
    "learned": Basis(
        torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(5))).Q,
        torch.full((4,), 0.3),
    ),
    "natural": Basis(torch.eye(4), num_pixels=1234),
}


@pytest.fixture(scope="module")
def scored() -> Comparison:
    return compare(BASES, FakeFeatures(CONCEPTS, images(40, 0), images(30, 1), 16), (0.005, 0.2), 50)


def test_rows_hold_scores_intervals_and_what_chance_reaches(scored: Comparison) -> None:
    rows = comparison_rows(scored, BASES, {0.2: 0.0})
    assert [(row["basis"], row["thresholds"], row["share"]) for row in rows] == [
        ("learned", "quantile", 0.005),
        ("learned", "quantile", 0.2),
        ("learned", "own", ""),
        ("natural", "quantile", 0.005),
        ("natural", "quantile", 0.2),
    ]
    own = scored["learned"][2]
    names = ("S1", "S1_low", "S1_high", "S1_corrected")
    assert tuple(rows[2][name] for name in names) == tuple(interval(own.samples().S1))
    assert rows[2]["interpretable_above_random"] == ""
    assert rows[1]["interpretable_above_random"] == int((scored["learned"][1].iou[0] > 0).sum())
    assert rows[3]["fitted_on_pixels"] == 1234


def test_markdown_marks_differences_that_exclude_zero(scored: Comparison) -> None:
    read = {name: readings(several) for name, several in scored.items()}
    causes = gain_by_cause(scored["learned"], scored["natural"])
    text = comparison_markdown(read, "learned", {"natural": "1,234 pixels"}, causes)
    gap = interval(read["learned"]["0.005"].S1 - read["natural"]["0.005"].S1)
    assert f"{gap.value:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}]" in text
    assert "| natural | 1,234 pixels |" in text
    assert "| directions: the learned basis, firing as often |" in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.count("|") == lines[0].count("|") for line in lines[:4])


def test_markdown_says_how_often_bases_fire_and_what_chance_reaches(scored: Comparison) -> None:
    read = {name: readings(several) for name, several in scored.items()}
    rows = comparison_rows(scored, BASES, {0.005: 0.0, None: 0.125})
    text = comparison_markdown(read, "learned", {}, rows=rows)
    own = scored["learned"][2]
    above = own.samples(0.125)
    counts = f"{int(above.interpretable[0])} ({int(above.unique[0])})"
    assert "own: IoU > 0.125" in text or "(own thresholds): IoU > 0.125" in text
    [line] = [line for line in text.splitlines() if line.startswith("| learned |") and "%" in line]
    assert f"| {share_text(own.firing_rate)} |" in line
    assert line.endswith(f"| {counts} |")


def test_markdown_says_the_real_firing_rate_where_it_is_not_the_share(scored: Comparison) -> None:
    read = {name: readings(several) for name, several in scored.items()}
    rows = comparison_rows(scored, BASES, {})
    for row in rows:
        row["firing_rate"] = 0.0042 if row["basis"] == "natural" else row["share"] or 0.0641
    text = comparison_markdown(read, "learned", {}, rows=rows, shown=("0.005", "own"))
    told = [line for line in text.splitlines() if line.startswith(("- *at 0.5%* ", "- *own thresholds* "))]
    assert [line.split(": ")[1] for line in told] == ["natural 0.42%.", "learned 6.4%."]


def test_markers_of_bases_at_one_place_can_be_told_apart(scored: Comparison) -> None:
    same = dict.fromkeys(("learned", "natural", "pca"), scored["learned"])
    lines = [line for line in firing_figure(same).axes[0].lines if len(np.atleast_1d(line.get_xdata())) == 1]
    assert len({str(line.get_marker()) for line in lines}) == 3
    assert len({line.get_zorder() for line in lines}) == 1
    assert all(line.get_markeredgecolor() == "black" for line in lines)


def test_binary_table_has_chance_beside_what_is_reached(scored: Comparison) -> None:
    read = {name: readings(several) for name, several in scored.items()}
    rate = {"basis": "pca", "reading": "individual", "labels": 18, "mAP": 0.495, "chance": 0.4634}
    lines = comparison_markdown(read, "learned", {}, rates=[rate]).splitlines()
    assert "| pca | individual | 18 | 0.495 | 0.463 |" in lines
    assert "| basis | reading | labels | mAP | chance |" in lines
    assert any(line.startswith("*chance* is the mAP of scores drawn at random") for line in lines)


def test_matrix_lists_every_experiment(scored: Comparison) -> None:
    read = {name: readings(several) for name, several in scored.items()}
    most = {name: several[0].most for name, several in scored.items()}
    document = {"differences": differences_document("learned", read, most), "rows": []}
    text = matrix_markdown({"one": document, "two": document})
    assert "| one | natural |" in text
    assert "| two | natural |" in text


def test_figures_show_every_basis(scored: Comparison, tmp_path: Path) -> None:
    figures = {
        "firing": firing_figure(scored),
        "cut": cut_figure(scored, 0.2),
        "categories": categories_figure(scored, 0.2),
        "histogram": histogram_figure(scored, None),
    }
    for name, figure in figures.items():
        png, svg = save_figure(figure, tmp_path, name)
        with Image.open(png) as picture:
            assert picture.width > 300
        assert svg.read_text(encoding="utf-8").startswith("<?xml")
    for axis in figures["firing"].axes:
        heights = axis.lines[0].get_ydata()
        score = axis.get_ylabel()
        found = [interval(getattr(each.samples(), score)) for each in scored["learned"][:2]]
        assert list(heights) == pytest.approx([each[0 if score == "S1" else 3] for each in found])
    assert "corrected" in figures["firing"].axes[1].get_title()
    markers = [line for line in figures["firing"].axes[0].lines if line.get_marker() not in ("None", None)]
    assert len(markers) == 2  # the learned basis's, and the legend's; the natural one has no own thresholds
    own = share_text(scored["learned"][2].firing_rate)
    assert [axis.get_title() for axis in figures["histogram"].axes] == [f"learned\n({own})"]
    name = cut_figure(scored, None).axes[0].get_legend_handles_labels()[1][0]
    assert name == f"learned ({own})"
    assert "area" not in figures["cut"].axes[0].get_title()
    assert len(figures["cut"].axes[0].lines) == 3  # two bases and the customary cut
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{name}.{kind}" for name in figures for kind in ("png", "svg")
    )
