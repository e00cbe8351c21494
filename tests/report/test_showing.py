"""Which cards are shown: sixty at a time, and those with a clear name if so wanted; in a real Chromium."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.report.browsing import DESKTOP, PHONE, Visit, needs_chromium, visiting
from tests.report.pages import write_report

pytestmark = needs_chromium

CUT = """field => {
  const style = getComputedStyle(field), pen = document.createElement("canvas").getContext("2d");
  pen.font = style.font;
  const arrow = field.options ? 20 : 0;
  const padding = parseFloat(style.paddingLeft) + parseFloat(style.paddingRight);
  const text = field.placeholder ?? field.selectedOptions[0].text;
  return pen.measureText(text).width - (field.clientWidth - padding - arrow);
}"""
"""Pixels by which what a field says is wider than it."""

SIZES = pytest.mark.parametrize(
    "size", [DESKTOP, (800, 900), PHONE], ids=["desktop", "narrow desktop", "phone"]
)


@pytest.fixture(scope="module")
def long_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(tmp_path_factory.mktemp("long"), 150, 1)


@pytest.fixture
def visit(browser: Browser, long_page: Path) -> Iterator[Visit]:
    yield from visiting(browser, long_page)


def test_cards_come_sixty_at_a_time(visit: Visit) -> None:
    status, more = visit.page.get_by_role("status"), visit.page.locator("#more")
    assert visit.shown() == list(range(60))
    expect(status).to_have_text("150 detectors, the first 60 shown")
    expect(more).to_have_text("Show 60 more")
    more.press("Enter")  # cards that are laid out late may move it from under a pointer
    assert visit.shown() == list(range(120))
    expect(visit.page.locator("#detector-60")).to_be_focused()
    expect(more).to_have_text("Show 30 more")
    more.press("Enter")
    assert visit.shown() == list(range(150))
    expect(more).to_be_hidden()
    expect(status).to_have_text("150 detectors")
    visit.page.get_by_label("Sort by").select_option(value="train")  # begins anew
    assert visit.shown() == list(range(149, 89, -1))
    visit.page.get_by_label("Category", exact=True).select_option("part")
    assert visit.shown() == list(range(149, 0, -3))
    expect(more).to_be_hidden()
    visit.page.get_by_label("Search").fill("149")
    assert visit.shown() == [149]
    assert visit.complaints == []


def test_only_interpretable_ones_if_so_wanted(visit: Visit) -> None:
    only = visit.page.get_by_label("only interpretable (IoU above 0.04)")
    only.check()
    clear = [number for number in range(150) if number % 4]
    assert visit.shown() == clear[:60]
    expect(visit.page.get_by_role("status")).to_have_text("112 of 150 detectors, the first 60 shown")
    visit.page.get_by_label("Search").fill("label 148")  # unclear: found by its label where it may be shown
    assert visit.shown() == []
    only.uncheck()
    assert visit.shown() == [148]
    only.check()
    visit.page.get_by_role("button", name="Reset").click()
    expect(visit.page.get_by_role("status")).to_have_text("150 detectors, the first 60 shown")
    assert not only.is_checked()
    only.check()
    visit.page.evaluate("location.hash = '#detector-12'")  # a link leads to its detector all the same
    expect(visit.page.locator("#detector-12")).to_be_focused()
    assert not only.is_checked()


@SIZES
@pytest.mark.parametrize("number", [0, 75, 149])
def test_link_beyond_the_first_sixty_is_not_under_the_bar(
    browser: Browser, long_page: Path, size: tuple[int, int], number: int
) -> None:
    for visit in visiting(browser, long_page, size, anchor=f"#detector-{number}"):
        card = visit.page.locator(f"#detector-{number}")
        for again in (False, True):
            if again:
                visit.page.reload()
            expect(card).to_be_focused()
            visit.page.wait_for_timeout(700)
            assert len(visit.shown()) == min(150, 60 * (number // 60 + 1))
            top = card.evaluate("card => card.getBoundingClientRect().top")
            end = visit.page.locator("#controls").evaluate("bar => bar.getBoundingClientRect().bottom")
            assert end <= top < size[1] / 2


def test_a_link_does_not_hold_who_scrolls_on(browser: Browser, long_page: Path) -> None:
    for visit in visiting(browser, long_page, anchor="#detector-75"):
        visit.page.mouse.move(600, 600)
        visit.page.mouse.wheel(0, 1500)
        visit.page.wait_for_timeout(700)
        assert visit.page.locator("#detector-75").evaluate("card => card.getBoundingClientRect().top") < -1000


@SIZES
def test_nothing_is_cut_and_no_interval_broken(
    browser: Browser, long_page: Path, size: tuple[int, int]
) -> None:
    for visit in visiting(browser, long_page, size):
        broken = "all => all.filter(one => one.getClientRects().length > 1).map(one => one.textContent)"
        assert visit.page.locator(".interval:visible").evaluate_all(broken) == []
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= size[0]
        for field in ("#query", "#sort", "#category"):
            cut = visit.page.locator(field).evaluate(CUT)
            assert cut <= 0, field


def test_all_are_on_paper_and_without_scripts(browser: Browser, long_page: Path) -> None:
    for visit in visiting(browser, long_page):
        visit.page.emulate_media(media="print")
        assert visit.page.locator(".card:visible").count() == 150
    for visit in visiting(browser, long_page, java_script_enabled=False):
        assert visit.page.locator(".card:visible").count() == 150
        expect(visit.page.locator("#more")).to_be_hidden()
