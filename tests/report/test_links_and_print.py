"""Links into a page of 512 detectors, and the page on paper, in a real Chromium."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.report.browsing import DESKTOP, PHONE, needs_chromium, visiting
from tests.report.pages import write_report

pytestmark = needs_chromium

SIZES = pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])


@pytest.fixture(scope="module")
def large_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(tmp_path_factory.mktemp("large"), 512)


@pytest.fixture(scope="module")
def small_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(tmp_path_factory.mktemp("small"), 8)


# `chromium --screenshot` shows nothing of any page that is scrolled, so it cannot be used to check this
@SIZES
@pytest.mark.parametrize("number", [0, 438, 511])
def test_link_opens_the_page_at_its_detector(
    browser: Browser, large_page: Path, size: tuple[int, int], number: int
) -> None:
    for visit in visiting(browser, large_page, size, anchor=f"#detector-{number}"):
        card = visit.page.locator(f"#detector-{number}")
        expect(card).to_be_focused()
        picture = card.locator("img")
        visit.page.wait_for_function(
            "image => image.complete && image.naturalWidth", arg=picture.element_handle()
        )
        visit.page.wait_for_timeout(200)  # pictures of the cards around it come in, and must not push it away
        assert _inside(card, size)
        assert _drawn(picture)
        assert visit.complaints == []


def _inside(card: Locator, size: tuple[int, int]) -> bool:
    box = card.bounding_box()
    return box is not None and 0 <= box["y"] < size[1] / 2 and box["height"] > 200


def _drawn(picture: Locator) -> bool:
    """Whether a screenshot of it shows more than one colour: a flat PNG is tiny."""
    return len(picture.screenshot()) > 10_000


def _printed(browser: Browser, page: Path) -> Iterator[tuple[str, Locator]]:
    for visit in visiting(browser, page, color_scheme="dark"):
        visit.page.emulate_media(media="print")
        yield (
            visit.page.evaluate("getComputedStyle(document.body).backgroundColor"),
            visit.page.locator("body"),
        )


def test_nothing_essential_is_missing_on_paper(browser: Browser, small_page: Path) -> None:
    for background, body in _printed(browser, small_page):
        assert background == "rgb(255, 255, 255)"
        assert body.evaluate("body => getComputedStyle(body).color") == "rgb(0, 0, 0)"
        for essential in (
            ".tiles li",
            "tbody tr",
            ".chart",
            ".meanings div",
            ".card",
            ".card img",
            ".card .iou",
        ):
            every = body.locator(essential)
            assert every.count() > 0
            assert body.locator(f"{essential}:visible").count() == every.count(), essential
        expect(body.locator(".card dl").first).to_be_visible()
        expect(body.locator(".about").first).to_be_visible()
        for useless in ("#controls", "nav", ".card details"):
            expect(body.locator(useless).first).to_be_hidden()


def test_pdf_holds_every_picture(browser: Browser, small_page: Path, tmp_path: Path) -> None:
    for visit in visiting(browser, small_page):
        visit.page.pdf(path=tmp_path / "page.pdf", width="210mm", height="297mm")
    content = (tmp_path / "page.pdf").read_bytes()
    assert content.count(b"/Subtype /Image") >= 8
