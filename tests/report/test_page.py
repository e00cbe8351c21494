"""The page and its content: size, numbers, and charts."""

import re
from pathlib import Path

import pytest
import torch

from tests.report.pages import compare_document, document, write_report
from uibe.functional.groups import Grouping
from uibe.functional.intervals import interval
from uibe.metrics.dissection import Dissection
from uibe.report.charts import line_chart
from uibe.report.document import (
    affected_classes,
    category_scores_document,
    comparison_section,
    detectors_document,
    scores_document,
)
from uibe.report.drawn import drawn_note
from uibe.report.page import render_page

RESULT = Dissection(
    labels=torch.tensor([0, 2, 2]),
    iou_train=torch.tensor([0.5, 0.4, 0.3], dtype=torch.float64),
    iou_val=torch.tensor([0.45, 0.04, 0.2], dtype=torch.float64),
    thresholds=torch.tensor([1.0, 2.0, 3.0]),
    firing_rate=torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64),
    categories=torch.tensor([0, 0, 1]),
    category_names=("object", "part"),
)
REPLICATES = torch.cat([RESULT.iou_val[None], torch.rand(30, 3, dtype=torch.float64)])


def test_512_detectors_take_less_than_60_megabytes(tmp_path: Path) -> None:
    page = write_report(tmp_path, 512)
    sizes = [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()]
    assert len(sizes) == 513
    assert 5e6 < sum(sizes) < 60e6
    assert page.stat().st_size < 2e6


def test_scores_are_those_of_the_dissection() -> None:
    (scored,) = scores_document({"learned": RESULT}, {"learned": REPLICATES}, 0.005)
    assert scored["scores"]["S1"] == interval(REPLICATES.sum(1))._asdict()
    assert scored["scores"]["S2"]["value"] == pytest.approx(0.65)
    assert scored["curves"]["detectors"][20] == 2
    obj, part = category_scores_document(RESULT, REPLICATES)
    assert (obj["name"], obj["detectors"], part["detectors"]) == ("object", 1, 2)
    assert part["scores"]["S1"]["value"] == pytest.approx(0.24)
    assert part["scores"]["S2"]["value"] == pytest.approx(0.2)


def test_category_without_detectors_has_scores_of_zero() -> None:
    alone = RESULT._replace(category_names=("object", "part", "scene"))
    empty = category_scores_document(alone, REPLICATES)[2]
    assert empty["detectors"] == 0
    assert empty["scores"]["S1"] == {"value": 0.0, "low": 0.0, "high": 0.0, "corrected": 0.0}


def test_detectors_hold_what_is_known_of_them() -> None:
    classes = affected_classes(torch.tensor([[0.1, 0.0, -3.0], [-0.2, 1.0, 2.0]]), None, count=1)
    found = detectors_document(
        RESULT,
        REPLICATES,
        ["sky", "road", "leg"],
        [[True, False], [False, False], [True, True]],
        [["a"], ["b"], ["c"]],
        "xyz",
        classes,
    )
    assert [each["label"] for each in found] == ["sky", "leg", "leg"]
    assert [each["category"] for each in found] == ["object", "part", "part"]
    assert [each["interpretable"] for each in found] == [True, False, True]  # strictly above 0.04
    assert found[2]["iou_val"] == interval(REPLICATES[:, 2])._asdict()
    assert [each["classes"][0]["name"] for each in found] == ["class 1", "class 1", "class 0"]
    assert found[0]["classes"][0]["change"] == pytest.approx(-0.2)
    assert [each["fires_in_val"] for each in found] == [True, False, True]
    assert found[0]["fires_in"] == [True, False]


def test_random_rotations_are_one_line_of_the_comparison() -> None:
    firing = comparison_section(compare_document())["firing"]
    assert [each["name"] for each in firing] == ["learned", "natural", "random"]
    assert firing[2]["S1"] == pytest.approx([3.0, 22.5])  # the mean of two
    assert firing[0]["share"] == [0.005, 0.2]


def test_page_without_comparison_and_classes_has_no_such_parts() -> None:
    content = document(3)
    assert 'id="comparison"' in render_page(content)
    content["comparison"] = None
    for each in content["detectors"]:
        each["classes"] = []
    page = render_page(content)
    assert 'id="comparison"' not in page
    assert "Affects" not in page


def test_own_thresholds_of_a_comparison_are_not_at_the_same_rate() -> None:
    compared = compare_document()
    own = {"learned": 0.064, "natural": 0.12, "random 0": 0.1, "random 1": 0.3}
    compared["rows"] += [{"basis": b, "thresholds": "own", "firing_rate": rate} for b, rate in own.items()]
    compared["differences"]["random (mean of 2)"] = compared["differences"]["natural"]
    section = comparison_section(compared)
    assert section["own_rate"] == pytest.approx(0.064)
    assert [each["own_rate"] for each in section["differences"]] == pytest.approx([0.12, 0.2])
    content = document(3)
    said = "Own thresholds are not at the same rate, and scores grow with it"
    assert f"{said}." in render_page(content)  # rates unknown
    content["comparison"] = section
    page = render_page(content)
    assert f"{said}: those of <b>learned</b> fire on 6.4% of the pixels." in page
    assert 'data-head="Own thresholds fire on">20%</td>' in page


def test_heading_names_data_and_layer() -> None:
    content = document(3)
    content["about"].update(data="<set>", layer="blocks.6", backbone="net")
    page = render_page(content)
    assert "<b>&lt;set&gt;</b>, layer <b>blocks.6</b></p>" in page[: page.index("<nav")]
    assert "<title>blocks.6 of net on &lt;set&gt;: 3 detectors</title>" in page


def test_bad_names_are_unclear_and_grey_pictures_are_said_to_be() -> None:
    content = document(4)
    fires = [[True, True], [True, False], [False, False], [True, True]]
    for each, fired in zip(content["detectors"], fires, strict=True):
        each.update(fires_in=fired, fires_in_val=any(fired), interpretable=each["number"] != 3)
    cards = render_page(content).split("<article")[1:]
    said = [re.sub("<[^>]*>", "", card.split("</h3>")[0].split("<h3")[1]).split(">")[1] for card in cards]
    assert said == ["label 0 #0", "label 1 #1", "label 2 #2", "unclear (nearest: label 3) #3"]
    assert [card.count("does not fire here") for card in cards] == [0, 3, 4, 0]  # alt, caption, files
    assert "Grey: picture 2; the detector does not fire here." in cards[1]
    assert "Fires in no validation image." in cards[2]
    assert (
        'alt="Images with the strongest response of detector 1, label 1: label 1.jpg, b.jpg (does' in cards[1]
    )


def test_logarithmic_axis_has_equal_steps_for_equal_ratios() -> None:
    chart = line_chart("a", "x", "y", [("one", [0.01, 0.1, 1.0], [0, 0, 4])], logarithmic=True)
    xs = [float(point.split(",")[0]) for point in chart.series[0].points.split()]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1])
    assert [tick.label for tick in chart.x_ticks] == ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1"]


def test_chart_of_nothing_is_refused_and_of_zeros_is_not() -> None:
    with pytest.raises(ValueError, match="at least one point"):
        line_chart("a", "x", "y", [])
    assert line_chart("a", "x", "y", [("one", [1.0], [0.0])]).series[0].points == "230.0,224.0"


def test_scores_with_a_bias_stand_beside_the_corrected_ones() -> None:
    content = document(3)
    content["scores"][0]["scores"]["S2"] = {"value": 4.66, "low": 4.1, "high": 4.52, "corrected": 4.314}
    page = render_page(content)
    assert "corrected 4.31 [4.10, 4.52]" in re.sub("<[^>]*>", "", page)
    assert '<strong>12.50</strong> <span class="interval">[11.50, 13.50]' in page


def test_page_says_how_images_are_drawn_and_of_a_comparison_where_it_differs() -> None:
    content = document(3)
    alone = render_page(content)
    assert alone.count("Intervals take images as independent.") == 1
    assert "bootstrap intervals over images." in alone
    grouping = Grouping("<film>", groups=30, single=0, effective=30.0)
    told = "Images are drawn in 30 groups by group_by &lt;film&gt;."
    content["about"].update(groups=grouping._asdict(), drawn=drawn_note(grouping, str))
    page = render_page(content)
    assert page.count(told) == 1
    assert page.count("Intervals take images as independent.") == 1
    assert "bootstrap intervals over groups of images." in page
    compared = compare_document()
    compared["options"]["groups"] = grouping._asdict()
    content["comparison"] = comparison_section(compared)
    assert "images as independent" not in render_page(content)
    assert render_page(content).count(told) == 1


@pytest.mark.parametrize("groups", [{}, "three", {**Grouping("a", 3, 0, 3.0)._asdict(), "groups": 2}])
def test_odd_groups_of_a_comparison_are_refused(groups: object) -> None:
    compared = compare_document()
    compared["options"]["groups"] = groups
    with pytest.raises(ValueError, match=r"^expected groups with group_by"):
        comparison_section(compared)
