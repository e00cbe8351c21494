"""Explained predictions in tables and figures: they add up, and names are taken literally."""

import io

import pytest
import torch
from PIL import Image
from rich.console import Console

from uibe.report.explanation import (
    ClassParts,
    Part,
    explanation_table,
    iou_text,
    names_note,
    parts_document,
)
from uibe.report.explanation_figures import explanation_figure, residual_figure
from uibe.report.explanation_residual import missed_note


@pytest.fixture
def parts() -> ClassParts:
    heat = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    return ClassParts(
        number=7,
        name="a $50 note_[x]",
        logit=2.5,
        constant=0.5,
        positive=[Part([3, 8], "sky $x^ (object)", "IoU 0.300 to 0.500", 3.0, heat, 2.0, 1.0)],
        negative=[Part([4], "[red]car (object)", "IoU 0.200 [0.100, 0.300]", -1.5, -heat / 2, 0.5, -2.0)],
        others_for=(1.0, 9),
        others_against=(-0.5, 5),
        unclear=(-0.25, 6),
        residual=0.25,
        covered=0.72,
    )


def test_steps_add_up_to_the_logit(parts: ClassParts) -> None:
    steps = parts.steps()
    assert sum(step.value for step in steps) == parts.logit
    assert [(step.name, step.summed) for step in steps] == [
        ("constant", 0),
        ("sky $x^ (object)", 2),
        ("9 others for it", 0),
        ("[red]car (object)", 1),
        ("5 others against it", 0),
        ("no clear concept", 6),
        ("residual", 0),
    ]


def test_one_other_is_no_plural_and_none_is_no_row(parts: ClassParts) -> None:
    names = [step.name for step in parts._replace(others_for=(1.0, 1), others_against=(0.0, 0)).steps()]
    assert "1 other for it" in names
    assert not any("against it" in name for name in names)


def test_what_names_nothing_is_called_so_wherever_it_is_ranked(parts: ClassParts) -> None:
    unclear = parts.positive[0]._replace(name="unclear", detail="", is_clear=False)
    ranked = parts._replace(positive=[unclear, *parts.positive], unclear=(0.0, 0), logit=5.75)
    assert sum(step.value for step in ranked.steps()) == ranked.logit
    assert [step.name for step in ranked.steps()].count("no clear concept") == 1
    figure = explanation_figure(Image.new("RGB", (8, 6)), [ranked], "a.png")
    assert [axis.get_title().splitlines()[0] for axis in figure.axes if "sum of" in axis.get_title()] == [
        "no clear concept",
        r"sky \$x^ (object)",
    ]
    assert any("the 2 concepts named here" in axis.get_xlabel() for axis in figure.axes)
    assert parts_document(ranked, ranked, [], {}, {})["strongest_concepts"][0]["concept"] == "unclear"


def test_what_comes_from_less_than_on_average_is_hatched_and_said(parts: ClassParts) -> None:
    figure = explanation_figure(Image.new("RGB", (8, 6)), [parts], "a.png", "names of a set")
    (axis,) = [each for each in figure.axes if each.patches]
    hatched = [bar for bar in axis.patches if bar.get_hatch()]
    # 1 of 3 at the end of the first, which goes from 0.5 to 3.5; all of the second, 4.5 to 3
    assert [(bar.get_x(), bar.get_width()) for bar in hatched] == [(3.5, -1.0), (3.0, 1.5)]  # type: ignore[attr-defined]
    assert [tick.get_text() for tick in axis.get_yticklabels()][3] == ("[red]car (object) [1], less")
    (title,) = [each.get_title() for each in figure.axes if "less" in each.get_title()]
    assert title.splitlines()[:2] == ["[red]car (object)", "-1.50, less than on average"]
    texts = [text.get_text() for each in figure.axes for text in each.texts]
    assert any("less, hatched: from directions that respond less than on average" in text for text in texts)
    assert figure.get_supxlabel() == "names of a set"


def test_nothing_is_hatched_where_all_comes_from_more(parts: ClassParts) -> None:
    more = parts._replace(positive=[parts.positive[0]._replace(above=3.5, below=-0.5)], negative=[])
    figure = explanation_figure(Image.new("RGB", (8, 6)), [more], "a.png")
    assert not any(bar.get_hatch() for axis in figure.axes for bar in axis.patches)
    assert not any("less" in axis.get_title() for axis in figure.axes)
    assert not any("hatched" in text.get_text() for axis in figure.axes for text in axis.texts)


def test_the_table_says_both_sides(parts: ClassParts) -> None:
    out = io.StringIO()
    Console(file=out, width=120).print(explanation_table("a", parts))
    (row,) = [line for line in out.getvalue().splitlines() if "car (object)" in line]
    assert [cell.strip() for cell in row.split("│")[-4:-1]] == ["-1.5000", "+0.5000", "-2.0000"]
    narrow = io.StringIO()
    Console(file=narrow, width=80).print(explanation_table("a", parts))
    assert "…" not in narrow.getvalue()


def test_names_are_those_of_a_data_set() -> None:
    assert names_note("set\x1b", ["a", "b"]).startswith(
        r"Names are concepts of set\x1b (a, b), each IoU is of"
    )


def test_three_classes_are_no_wall_and_maps_are_not_squeezed(parts: ClassParts) -> None:
    told = parts._replace(missed=missed_note(2.5, 2.0, "blocks.6", 64, 64))
    figure = explanation_figure(Image.new("RGB", (8, 8)), [told] * 3, "a.png")
    assert figure.get_size_inches()[1] < 11
    figure.savefig(io.BytesIO(), format="png", dpi=figure.dpi)
    maps = [axis.get_window_extent() for axis in figure.axes if "sum of" in axis.get_title()]
    charts = [axis for axis in figure.axes if "misses" in axis.get_title()]
    assert len(maps) == len(charts) == 3
    assert all(box.height > 0.9 * figure.dpi for box in maps)
    for chart in charts:  # its note ends before the maps begin
        assert chart.title.get_window_extent().x1 < min(box.x0 for box in maps)


def test_bars_begin_where_the_one_before_ended(parts: ClassParts) -> None:
    figure = explanation_figure(Image.new("RGB", (8, 6)), [parts], "a.png")
    (axis,) = [each for each in figure.axes if each.patches]
    assert [tick.get_text() for tick in axis.get_yticklabels()][1:4:2] == [
        r"sky \$x^ (object) [2]",
        "[red]car (object) [1], less",
    ]
    assert "2 concepts named here: 72% of all" in axis.get_xlabel()
    bars = [(bar.get_x(), bar.get_width()) for bar in axis.patches if not bar.get_hatch()]  # type: ignore[attr-defined]
    end = 0.0
    for (left, width), step in zip(bars, parts.steps(), strict=False):
        assert left == pytest.approx(end)
        assert width == pytest.approx(step.value)
        end += step.value
    assert bars[-1] == (0.0, parts.logit)


def test_names_are_taken_literally(parts: ClassParts) -> None:
    figure = explanation_figure(Image.new("RGB", (8, 6)), [parts, parts], "b $ a $.png")
    figure.savefig(io.BytesIO(), format="svg")  # mathtext would fail on `$x^ (`
    residual_figure({"$x^": [0.5], "learned": [0.0, 1e-8]}).savefig(io.BytesIO(), format="svg")
    out = io.StringIO()
    Console(file=out, width=120).print(explanation_table("c.png: [x]", parts))
    assert "[red]car (object)" in out.getvalue()
    assert "c.png: [x]" in out.getvalue()


def test_overlays_share_a_scale_and_the_image_s_proportions(parts: ClassParts) -> None:
    figure = explanation_figure(Image.new("RGB", (80, 60), "white"), [parts], "a.png")
    pictures = [axis.images[0].get_array() for axis in figure.axes if axis.images]
    _, strong, weak, bar = pictures
    assert strong is not None
    assert weak is not None
    assert bar is not None
    assert strong.shape == weak.shape == (216, 288, 3)
    # blue of the first at the top left, vermillion at half of its strength there of the second
    assert strong[0, 0, 2] > strong[0, 0, 0] + 0.5
    assert weak[0, 0, 0] > weak[0, 0, 2]
    assert (1 - strong[0, 0].min()) > 1.3 * (1 - weak[0, 0].min()) > 0


def test_colours_are_those_of_the_colour_bar(parts: ClassParts) -> None:
    figure = explanation_figure(Image.new("RGB", (8, 6), "white"), [parts], "a.png")
    *_, overlay, _, bar = [axis for axis in figure.axes if axis.images]
    assert "what each place adds to the logit, one scale" in bar.get_xlabel()
    low, high, *_ = bar.images[0].get_extent()
    assert low == -high
    colours, shown = bar.images[0].get_array(), overlay.images[0].get_array()
    assert colours is not None
    assert shown is not None
    heat = 1.0  # of the corner at the bottom right
    place = round((heat / high + 1) / 2 * (colours.shape[1] - 1))
    assert shown[-1, -1].tolist() == pytest.approx(colours[0, place].tolist(), abs=0.02)


def test_a_few_peaks_do_not_make_all_else_faint(parts: ClassParts) -> None:
    heat = torch.full((20, 20), 0.1)
    heat[0, 0] = 0.3
    figure = explanation_figure(
        Image.new("RGB", (8, 6)),
        [parts._replace(positive=[parts.positive[0]._replace(heat=heat)], negative=[])],
        "",
    )
    *_, bar = [axis for axis in figure.axes if axis.images]
    assert bar.images[0].get_extent()[1] == pytest.approx(0.1)


def test_ious_near_the_cut_are_told_from_it() -> None:
    assert iou_text(0.0404) == "0.0404"
    assert iou_text(0.0396) == "0.040"
    assert float(iou_text(0.04 + 1e-9)) > 0.04
    assert iou_text(0.2) == "0.200"


def test_document_keeps_every_digit(parts: ClassParts) -> None:
    single = parts._replace(residual=1e-7 / 3)
    sides = {"sky": {"above": 2.0, "below": 1.0}}
    document = parts_document(single, parts, [3.0, -1.5], {"sky": 3.0}, sides)
    assert document["presence"] == sides
    assert [document["strongest"][1][side] for side in ("above", "below")] == [0.5, -2.0]
    assert document["residual"] == 1e-7 / 3
    assert document["strongest"][0]["heat_map"] == [[2.0, 0.0], [0.0, 1.0]]
    assert document["strongest_concepts"][0]["directions"] == [3, 8]
    assert document["contributions"] == [3.0, -1.5]
    assert parts_document(single, None, [], {}, {})["strongest_concepts"] == []


def test_a_large_residual_is_told_loudly(parts: ClassParts) -> None:
    note = missed_note(2.5, 0.25 + 1e-6, "blocks.6", 64, 64)
    assert note.startswith("the split misses 10% of this logit: layers after blocks.6 are not linear; cut at")
    assert missed_note(2.5, -0.25, "blocks.6", 64, 64) == ""
    assert missed_note(0.0, 0.0, "blocks.6", 64, 64) == ""
    assert "5 directions do not span 64 channels" in missed_note(-1.0, 1.06, "blocks.6", 5, 64)
    told, out = parts._replace(missed=note), io.StringIO()
    Console(file=out, width=200).print(explanation_table("a", parts))
    assert "misses" not in out.getvalue()
    Console(file=out, width=200).print(explanation_table("a", told))
    assert note in " ".join(out.getvalue().split())
    charts = []
    for each in (parts, told):
        figure = explanation_figure(Image.new("RGB", (8, 6)), [each], "a.png")
        charts += [axis for axis in figure.axes if axis.patches]
    silent, loud = charts
    assert "misses 10%" in " ".join(loud.get_title().split())
    assert "which together miss the logit by +0.25" in loud.get_xlabel()
    assert silent.get_title() == ""
    assert "miss" not in silent.get_xlabel()
