"""A page of unusual reports: one detector, none interpretable, no comparison, rows of any basis."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from tests.report.pages import HOSTILE, compare_document, document
from uibe.metrics.dissection import Dissection
from uibe.report.document import comparison_section, detectors_document, pairs_document, scores_document
from uibe.report.page import render_page
from uibe.report.titles import share_text

NAMES = ("learned", "quantile", "natural", "natural_as_often")


def rate_of(name: str, quantile: float = 0.005) -> float:
    """Detectors at a quantile fire on that share, others on 6.4%."""
    return quantile if name in ("quantile", "natural") else 0.064


def dissection(number: int, iou: float, rate: float) -> Dissection:
    same = torch.full((number,), iou, dtype=torch.float64)
    return Dissection(
        labels=torch.zeros(number, dtype=torch.int64),
        iou_train=same,
        iou_val=same,
        thresholds=torch.ones(number),
        firing_rate=torch.full((number,), rate, dtype=torch.float64),
        categories=torch.tensor([0]),
        category_names=("object",),
    )


def content(number: int, iou: float, rates: Sequence[float] = ()) -> dict[str, Any]:
    """A report whose numbers come from such a dissection, with other firing rates if they are given."""
    made, found = document(number), dissection(number, iou, 0.005)
    if rates:
        found = found._replace(firing_rate=torch.tensor(rates, dtype=torch.float64))
    replicates = found.iou_val.expand(5, -1)
    made["scores"] = scores_document({"learned": found}, {"learned": replicates}, 0.005)
    made["pairs"] = pairs_document({"learned": found}, {"learned": replicates})
    made["comparison"] = None
    files = [[f"{i}.jpg"] for i in range(number)]
    paths = [f"detectors/{i}.webp" for i in range(number)]
    made["detectors"] = detectors_document(found, replicates, ["sky"], [[True]] * number, files, paths)
    made["categories"] = [{"name": "object", "detectors": number, "scores": made["scores"][0]["scores"]}]
    return made


def test_one_detector_is_spoken_of_in_the_singular() -> None:
    page = render_page(content(1, iou=0.5))
    assert ">1 detector</p>" in page
    assert "1 direction of" in page
    assert "1 detectors" not in page
    assert page.count('class="card"') == 1


@pytest.mark.parametrize(("iou", "said"), [(0.0, True), (0.04, True), (0.05, False)])
def test_page_says_that_no_detector_is_interpretable(iou: float, said: bool) -> None:
    page = render_page(content(3, iou))
    assert ("No detector reaches an IoU of 0.04" in page) is said
    assert page.count('class="iou low"') == (3 if said else 0)


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ([0.6, *[0.045] * 9], "Fires on 60% of the pixels; on average the detectors fire on 10%."),
        ([0.49, *[0.057] * 9], None),  # 4.9 times their mean
        ([0.8, 0.2, 0.2], "Fires on 80% of the pixels; on average the detectors fire on 40%."),  # above 70%
        ([0.66, 0.27, 0.27], None),
        ([0.005] * 3, None),
        ([1.0] * 3, None),
        ([0.0] * 3, None),
    ],
)
def test_a_detector_that_fires_far_more_than_the_others_is_marked(
    rates: list[float], expected: str | None
) -> None:
    made = content(len(rates), 0.49, rates)
    page = render_page(made)
    assert [each["fires_widely"] for each in made["detectors"]] == [
        i == 0 and expected is not None for i in range(len(rates))
    ]
    assert page.count("wide-firing") - page.count(".wide-firing") == (1 if expected else 0)
    assert expected is None or page.count(expected) == 1
    rule = "marks a detector that fires on more than 5 times the share"
    assert (rule in page) is (expected is not None)
    assert page.count(f"<dd>{share_text(rates[0])} of pixels</dd>") == rates.count(rates[0])


def test_a_large_concept_is_no_fault() -> None:
    rates = [0.6, *[0.05] * 9]
    assert not any(each["fires_widely"] for each in content(10, 0.5, rates)["detectors"])


@pytest.mark.parametrize("supervised", [False, True])
def test_rows_say_which_basis_and_which_thresholds(supervised: bool) -> None:
    made = document(3)
    results = {name: dissection(3, 0.5, rate_of(name, 0.02)) for name in NAMES}
    replicates = {name: each.iou_val.expand(5, -1) for name, each in results.items()}
    made["scores"] = scores_document(results, replicates, 0.02, supervised)
    made["pairs"] = pairs_document(results, replicates)
    basis = "supervised" if supervised else "learned"
    titles = [each["title"] for each in made["scores"]]
    assert titles == [f"{basis}, own thresholds", f"{basis} at 2%", "natural at 2%", "natural at 6.4%"]
    page = render_page(made)
    rows = [page.index(f'<th scope="row" role="rowheader">{titles[place]}</th>') for place in (1, 2, 0, 3)]
    assert rows == sorted(rows)  # those that fire as often stand together, at the quantile first
    for each in made["scores"]:
        assert f'<th scope="row" role="rowheader">{each["title"]}</th>' in page
        assert f"<dt>{each['title']}</dt><dd>{each['meaning']}</dd>".replace("'", "&#39;") in page
        assert f'<th scope="row" role="rowheader">{each["name"]}</th>' not in page


def test_headline_compares_bases_that_fire_as_often() -> None:
    made = document(3)
    iou = {"learned": 0.5, "quantile": 0.25, "natural": 0.125, "natural_as_often": 0.75}
    results = {name: dissection(3, iou[name], rate_of(name)) for name in NAMES}
    replicates = {name: each.iou_val.expand(5, -1) for name, each in results.items()}
    made["scores"] = scores_document(results, replicates, 0.005)
    made["pairs"] = pairs_document(results, replicates)
    assert [(each["set"], each["beside"]) for each in made["pairs"]] == [
        ("quantile", "natural"),
        ("learned", "natural_as_often"),
    ]
    assert [each["differences"]["S1"]["value"] for each in made["pairs"]] == [0.375, -0.75]
    page = render_page(made)
    first, second = (
        page.index("learned at 0.5%, beside natural at 0.5%"),
        page.index("learned, own thresholds, beside natural at 6.4%"),
    )
    assert first < second
    assert "<strong>0.75</strong>" in page[first:second]
    assert '<span class="gap clear">difference +0.38' in page[first:second]
    assert '<span class="beside">natural 2.25</span>' in page[second:]
    assert '<span class="gap clear">difference -0.75' in page[second:]
    assert "detectors fire on 6.4% of the train pixels on average; each channel on at most as many" in page


def test_curves_of_bases_that_do_not_fire_as_often_share_no_picture() -> None:
    made = document(3)
    results = {name: dissection(3, 0.5, rate_of(name)) for name in NAMES}
    replicates = {name: each.iou_val.expand(5, -1) for name, each in results.items()}
    made["scores"] = scores_document(results, replicates, 0.005)
    made["pairs"], made["comparison"] = pairs_document(results, replicates), None
    page = render_page(made)
    assert (
        "<figcaption>Detectors that reach an IoU: learned at 0.5%, beside natural at 0.5%</figcaption>"
        in page
    )
    shown = [label.split(": ")[-1] for label in re.findall('<svg viewBox.*?aria-label="([^"]*)"', page)]
    assert (
        shown[0::2]
        == shown[1::2]
        == [
            "learned at 0.5%, natural at 0.5%",
            "learned, own thresholds, natural at 6.4%",
        ]
    )


def test_titles_say_the_real_firing_rate_where_ties_keep_detectors_below_the_share() -> None:
    made = document(3)
    rates = {"learned": 0.064, "quantile": 0.0049, "natural": 0.0042, "natural_as_often": 0.05}
    results = {name: dissection(3, 0.5, rate) for name, rate in rates.items()}
    replicates = {name: each.iou_val.expand(5, -1) for name, each in results.items()}
    made["scores"] = scores_document(results, replicates, 0.005)
    made["pairs"] = pairs_document(results, replicates)
    page = render_page(made)
    assert "learned at 0.5%, beside natural at 0.5%, fires on 0.42%</h3>" in page
    assert "learned, own thresholds, beside natural at 6.4%, fires on 5%</h3>" in page
    assert "each detector fires on at most 0.5% of the train pixels" in page


def test_a_basis_without_its_counterpart_stands_alone() -> None:
    results = {"quantile": dissection(3, 0.5, 0.005)}
    replicates = {"quantile": results["quantile"].iou_val.expand(5, -1)}
    made = document(3)
    made["scores"] = scores_document(results, replicates, 0.005)
    made["pairs"] = pairs_document(results, replicates)
    assert made["pairs"] == [{"set": "quantile", "beside": None, "differences": {}}]
    page = render_page(made)
    assert 'class="pair">learned at 0.5%</h3>' in page
    assert 'class="beside"' not in page


def test_bases_of_the_comparison_are_explained() -> None:
    made = document(3)
    made["comparison"] = comparison_section(compare_document())
    assert "<dt>natural</dt><dd>the layer&#39;s channels as they are</dd>" in render_page(made)


def test_titles_of_users_are_escaped() -> None:
    made = document(len(HOSTILE), HOSTILE)
    made["scores"][0]["title"] = made["scores"][0]["meaning"] = HOSTILE[0]
    page = render_page(made)
    assert HOSTILE[0] not in page
    assert page.count("<script>") == 1
