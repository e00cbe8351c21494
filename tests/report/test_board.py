"""What TensorBoard's tabs are given: charts, cards, small pictures, the projector's tables."""

import re

import pytest
import torch
from PIL import Image

from uibe.metrics.dissection import Dissection
from uibe.report.board import layout
from uibe.report.card import changed_options, run_card
from uibe.report.examples import strongest_of_each_label
from uibe.report.projector import metadata, response_profiles
from uibe.report.sheet import contact_sheet, thumbnails


def dissection(iou: list[float], labels: list[int]) -> Dissection:
    values = torch.tensor(iou, dtype=torch.float64)
    return Dissection(
        torch.tensor(labels), values, values, values, values, torch.tensor([0, 1, 0]), ("object", "col\tor")
    )


def test_charts_match_names_that_hold_special_characters() -> None:
    charts = layout(["learned"], ["a.b (c)"], [])["by category, learned thresholds"]
    for _, (pattern,) in charts.values():
        assert re.match(pattern, pattern.replace("\\", "").removesuffix("$"))
    assert not re.match(charts["distinct labels"][1][0], "learned/aXb (c)/unique")


def test_nothing_to_chart() -> None:
    assert layout([], ["object"], []) == {}


def test_card_of_a_table_is_one_row_an_option() -> None:
    card = run_card({"data": "x"}, {"model.layer": "a|b\nc"}, {}, ["python evaluate.py"])
    assert "| `model.layer` | a\\|b c |" in card
    assert "\n\n    python evaluate.py\n" in card


def test_options_equal_to_their_defaults_are_left_out() -> None:
    assert changed_options({"a": None, "b": [1]}, {"a": None, "b": [2]}) == {"b": [1]}


def test_best_of_each_label_come_first() -> None:
    result = dissection([0.5, 0.9, 0.7, 0.7, 0.1], [1, 1, 0, 0, 2])
    assert strongest_of_each_label(result).tolist() == [1, 2, 4, 3, 0]


def test_metadata_has_one_cell_a_column() -> None:
    result = dissection([0.5, 0.25], [1, 2])
    heads, rows = metadata(result, ["sky", "dark\tblue\n", "tree"], torch.tensor([1, 0]))
    assert rows == [
        ("tree", "object", "0.2500", "0.25000", "1"),
        ("dark blue", "col or", "0.5000", "0.50000", "0"),
    ]
    assert len(heads) == 5


def test_profiles_of_alike_detectors_are_alike() -> None:
    responses = torch.rand(2, 700, generator=torch.Generator().manual_seed(0))
    profiles = response_profiles(torch.cat([responses, 5 * responses[:1] + 3]))
    assert profiles.shape == (3, 234)  # every third image
    torch.testing.assert_close(profiles[0], profiles[2], rtol=1e-4, atol=1e-4)
    assert float((profiles[0] * profiles[1]).mean()) == pytest.approx(0, abs=0.2)


def test_sheet_outlines_the_mask_and_fades_the_rest() -> None:
    grey = Image.new("RGB", (20, 20), (200, 200, 200))
    left = torch.tensor([[1.0, -1.0]])[None]
    sheet = contact_sheet([grey], left, 0.0, ["title"])[:, 21:161, 2:142]
    assert sheet[:, 70, 10].tolist() == [200, 200, 200]
    assert sheet[:, 70, 130].tolist() == [205, 205, 205]
    outlined = (sheet[0] == 255) & (sheet[2] == 0)
    assert outlined.sum(1).tolist() == [1] * 140
    assert outlined[0].nonzero().item() == pytest.approx(69, abs=1)


def test_sheet_has_text_and_as_many_rows_as_needed() -> None:
    grey = Image.new("RGB", (9, 9))
    maps = torch.zeros(5, 2, 2)
    sheet = contact_sheet([grey] * 5, maps, 0.0, ["one", "two"])
    assert sheet.shape == (3, 2 * 17 + 4 + 2 * 144, 432)
    assert int(sheet[:, :17].min()) < 100
    assert int(sheet[:, 17:34].min()) < 100


def test_thumbnails_are_scaled_to_one() -> None:
    small = thumbnails([Image.new("RGB", (9, 9), "white"), Image.new("RGB", (5, 9), "red")], 3)
    assert small[0].unique().tolist() == [1.0]
    assert small[1, :, 0, 0].tolist() == [1.0, 0.0, 0.0]
