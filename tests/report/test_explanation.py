"""Explained predictions in tables and figures: they add up, and names are taken literally."""

import io

import pytest
import torch
from PIL import Image
from rich.console import Console

from uibe.report.explanation import ClassParts, Part, explanation_table, parts_document
from uibe.report.explanation_figures import explanation_figure, residual_figure


@pytest.fixture
def parts() -> ClassParts:
    heat = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    return ClassParts(
        number=7,
        name="a $50 note_[x]",
        logit=2.5,
        constant=0.5,
        positive=[Part(3, "3 sky $x^ (object)", "IoU 0.50 [0.40, 0.60]", 3.0, heat)],
        negative=[Part(4, "4 [red]car (object)", "IoU 0.20 [0.10, 0.30]", -1.5, -heat / 2)],
        others_for=(1.0, 9),
        others_against=(-0.75, 5),
        residual=0.25,
    )


def test_steps_add_up_to_the_logit(parts: ClassParts) -> None:
    names, values = zip(*parts.steps(), strict=True)
    assert sum(values) == parts.logit
    assert names == (
        "constant",
        "3 sky $x^ (object)",
        "9 others for it",
        "4 [red]car (object)",
        "5 others against it",
        "residual",
    )


def test_bars_begin_where_the_one_before_ended(parts: ClassParts) -> None:
    figure = explanation_figure(Image.new("RGB", (8, 6)), [parts], "a.png")
    (axis,) = [each for each in figure.axes if each.patches]
    bars = [(bar.get_x(), bar.get_width()) for bar in axis.patches]  # type: ignore[attr-defined]
    end = 0.0
    for (left, width), (_, value) in zip(bars, parts.steps(), strict=False):
        assert left == pytest.approx(end)
        assert width == pytest.approx(value)
        end += value
    assert bars[-1] == (0.0, parts.logit)


def test_names_are_taken_literally(parts: ClassParts) -> None:
    figure = explanation_figure(Image.new("RGB", (8, 6)), [parts, parts], "b $ a $.png")
    figure.savefig(io.BytesIO(), format="svg")  # mathtext would fail on `$x^ (`
    residual_figure({"$x^": [0.5], "learned": [0.0, 1e-8]}).savefig(io.BytesIO(), format="svg")
    out = io.StringIO()
    Console(file=out, width=120).print(explanation_table("c.png: [x]", parts))
    assert "4 [red]car (object)" in out.getvalue()
    assert "c.png: [x]" in out.getvalue()


def test_overlays_of_a_class_share_a_scale(parts: ClassParts) -> None:
    figure = explanation_figure(Image.new("RGB", (8, 6), "white"), [parts], "a.png")
    overlays = [axis.images[0].get_array() for axis in figure.axes if axis.images][1:]
    strong, weak = overlays
    assert strong is not None
    assert weak is not None
    # blue of the first at the top left, vermillion at half of its strength there of the second
    assert strong[0, 0, 2] > strong[0, 0, 0] + 0.5
    assert weak[0, 0, 0] > weak[0, 0, 2]
    assert (1 - strong[0, 0].min()) > 1.5 * (1 - weak[0, 0].min()) > 0


def test_document_keeps_every_digit(parts: ClassParts) -> None:
    document = parts_document(parts._replace(residual=1e-7 / 3), [3.0, -1.5], {"sky": 3.0})
    assert document["residual"] == 1e-7 / 3
    assert document["strongest"][0]["heat_map"] == [[2.0, 0.0], [0.0, 1.0]]
    assert document["contributions"] == [3.0, -1.5]
