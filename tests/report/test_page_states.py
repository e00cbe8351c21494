"""A page of unusual reports: one detector, none interpretable, no comparison, rows of any basis."""

from typing import Any

import pytest
import torch

from tests.report.pages import HOSTILE, compare_document, document
from uibe.metrics.dissection import Dissection
from uibe.report.document import comparison_section, detectors_document, scores_document
from uibe.report.page import render_page


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


def content(number: int, iou: float, rate: float = 0.005, quantile: float = 0.005) -> dict[str, Any]:
    """A report whose numbers come from such a dissection."""
    made, found = document(number), dissection(number, iou, rate)
    replicates = found.iou_val.expand(5, -1)
    made["scores"] = scores_document({"learned": found}, {"learned": replicates}, quantile)
    made["about"]["quantile"], made["comparison"] = quantile, None
    files = [[f"{i}.jpg"] for i in range(number)]
    paths = [f"detectors/{i}.webp" for i in range(number)]
    made["detectors"] = detectors_document(
        found, replicates, ["sky"], [True] * number, files, paths, quantile
    )
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
    ("rate", "quantile", "expected"),
    [
        (0.39, 0.005, "Fires on 39% of the pixels, 78 times the usual 0.5%."),
        (0.11, 0.005, "Fires on 11% of the pixels, 22 times the usual 0.5%."),
        (0.09, 0.005, None),
        (0.39, 0.05, None),
        (0.6, 0.05, "Fires on 60% of the pixels, 12 times the usual 5%."),
    ],
)
def test_a_detector_that_fires_on_too_much_is_marked(
    rate: float, quantile: float, expected: str | None
) -> None:
    made = content(2, 0.49, rate, quantile)
    page = render_page(made)
    assert [each["fires_widely"] for each in made["detectors"]] == [expected is not None] * 2
    assert page.count("wide-firing") - page.count(".wide-firing") == (2 if expected else 0)
    assert expected is None or page.count(expected) == 2
    assert page.count(f"<dd>{100 * rate:.2g}% of pixels</dd>") == 2


def test_a_large_concept_is_no_fault() -> None:
    assert not any(each["fires_widely"] for each in content(2, 0.5, rate=0.39)["detectors"])


@pytest.mark.parametrize("supervised", [False, True])
def test_rows_say_which_basis_and_which_thresholds(supervised: bool) -> None:
    made = document(3)
    results = {name: dissection(3, 0.5, 0.01) for name in ("learned", "quantile", "natural")}
    replicates = {name: each.iou_val.expand(5, -1) for name, each in results.items()}
    made["scores"] = scores_document(results, replicates, 0.02, supervised)
    basis = "Supervised basis" if supervised else "Learned basis"
    titles = [each["title"] for each in made["scores"]]
    assert titles == [
        f"{basis}, own thresholds",
        f"{basis}, each firing on 2%",
        "Channels as they are, each firing on 2%",
    ]
    page = render_page(made)
    for each in made["scores"]:
        assert f'<th scope="row">{each["title"]}</th>' in page
        assert f"<dt>{each['title']}</dt><dd>{each['meaning']}</dd>".replace("'", "&#39;") in page
        assert f'<th scope="row">{each["name"]}</th>' not in page


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
