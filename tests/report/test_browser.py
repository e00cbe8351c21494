"""The report in a real headless Chromium, straight from files."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.report.browsing import DESKTOP, PHONE, Visit, needs_chromium, visiting
from tests.report.pages import HOSTILE, write_report

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def report_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(tmp_path_factory.mktemp("report"), 12)


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(tmp_path_factory.mktemp("hostile"), len(HOSTILE), names=HOSTILE)


@pytest.fixture
def visit(browser: Browser, report_page: Path) -> Iterator[Visit]:
    yield from visiting(browser, report_page)


def test_search_shows_what_matches_and_says_how_many(visit: Visit) -> None:
    assert visit.shown() == list(range(12))
    visit.page.get_by_label("Search").fill("LABEL 7")
    assert visit.shown() == [7]
    expect(visit.page.get_by_role("status")).to_have_text("1 of 12 detectors")
    visit.page.get_by_label("Search").fill("#3")
    assert visit.shown() == [3]
    visit.page.get_by_label("Search").fill("label object")  # every word must match, here the category
    assert visit.shown() == [1, 4, 7, 10]
    visit.page.get_by_label("Search").fill("nothing like it")
    assert visit.shown() == []
    visit.page.get_by_role("button", name="Reset").click()
    expect(visit.page.get_by_role("status")).to_have_text("12 detectors")
    assert visit.shown() == list(range(12))


def test_category_filters(visit: Visit) -> None:
    visit.page.get_by_label("Category", exact=True).select_option("part")
    assert visit.shown() == [2, 5, 8, 11]
    visit.page.get_by_label("Search").fill("label 1")  # as a number also in names: label 1, 10, 11
    assert visit.shown() == [11]
    visit.page.get_by_label("Category", exact=True).select_option("all")
    assert visit.shown() == [1, 10, 11]


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("number", list(range(12))),
        ("iou", list(range(12))),
        ("train", list(range(11, -1, -1))),
        ("rate", sorted(range(12), key=lambda i: (7 * i) % 12)),
        ("label", [0, 1, 10, 11, *range(2, 10)]),
        ("lead", list(range(12))),
    ],
)
def test_sorting(visit: Visit, by: str, expected: list[int]) -> None:
    visit.page.get_by_label("Sort by").select_option(value="train")
    visit.page.get_by_label("Sort by").select_option(value=by)
    assert visit.shown() == expected


def test_best_of_each_label_comes_first(browser: Browser, tmp_path: Path) -> None:
    path = write_report(tmp_path, 6, 1, names=("a", "a", "a", "b", "a", "c"))
    for visit in visiting(browser, path):
        assert visit.shown() == [0, 3, 5, 1, 2, 4]
        visit.page.get_by_label("Sort by").select_option(value="iou")
        assert visit.shown() == list(range(6))
        visit.page.get_by_role("button", name="Reset").click()
        expect(visit.page.locator(".card").first).to_have_attribute("data-number", "0")
        assert visit.shown() == [0, 3, 5, 1, 2, 4]


def test_search_matches_where_words_begin(browser: Browser, tmp_path: Path) -> None:
    names = ("car", "carpet", "scar", "street car-s", "motor oil", "motor_cart")
    for visit in visiting(browser, write_report(tmp_path, 6, 1, names=names)):
        search = visit.page.get_by_label("Search")
        # of six detectors, 0 and 3 are of a category `car`, 1 and 4 of `carpet`, 2 and 5 of `scar`
        for query, expected in {
            "carp": [1, 4],
            "car": [0, 3],  # the word itself, where it occurs
            "ca": [0, 1, 3, 4, 5],
            "ar": [],
            "scar": [2, 5],
            "mot": [4, 5],
            "motor cart": [5],
            "oil motor": [4],
            "street carpet": [],
        }.items():
            search.fill(query)
            assert sorted(visit.shown()) == expected, query


def test_classes_that_a_detector_affects_are_not_searched(visit: Visit) -> None:
    expect(visit.page.locator("#detector-7 .classes")).to_contain_text("label 7 class")
    visit.page.get_by_label("Search").fill("class")
    assert visit.shown() == []
    expect(visit.page.get_by_role("status")).to_have_text(
        "No detector matches: change the search or the filters, or press Reset."
    )
    visit.page.get_by_label("Search").fill("part")
    expect(visit.page.get_by_role("status")).to_have_text("4 of 12 detectors")


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize(
    "change",
    [
        lambda page: page.get_by_label("Search").press_sequentially("label"),
        lambda page: page.get_by_label("Category", exact=True).select_option("object"),
        lambda page: page.get_by_label("Sort by").select_option(value="train"),
    ],
    ids=["search", "category", "sort"],
)
def test_every_change_leads_to_the_top_of_the_list(
    browser: Browser, report_page: Path, size: tuple[int, int], change: Callable[[Page], object]
) -> None:
    for visit in visiting(browser, report_page, size):
        visit.page.locator(".card:visible").last.scroll_into_view_if_needed()
        change(visit.page)
        first = visit.page.locator(".card:visible").first
        expect(first).to_be_in_viewport()
        top, end = visit.page.locator("#controls").evaluate(
            "bar => [bar.getBoundingClientRect().top, bar.getBoundingClientRect().bottom]"
        )
        assert -10 <= top <= 1
        assert end <= first.evaluate("card => card.getBoundingClientRect().top") <= end + 60


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_link_to_a_detector_that_is_not_there_says_so(
    browser: Browser, report_page: Path, size: tuple[int, int]
) -> None:
    for visit in visiting(browser, report_page, size, anchor="#detector-99"):
        status = visit.page.get_by_role("status")
        expect(status).to_have_text("There is no detector 99 on this page.")
        expect(status).to_be_in_viewport()
        visit.page.evaluate("location.hash = '#detector-10'")
        expect(visit.page.locator("#detector-10")).to_be_focused()
        expect(status).to_have_text("12 detectors")
        assert visit.complaints == []


def test_link_leads_to_its_detector_also_when_it_is_filtered_out(browser: Browser, report_page: Path) -> None:
    for visit in visiting(browser, report_page, anchor="#detector-11"):
        card = visit.page.locator("#detector-11")
        expect(card).to_be_in_viewport()
        expect(card).to_be_focused()
        visit.page.get_by_label("Search").fill("label 3")
        expect(card).to_be_hidden()
        visit.page.evaluate("location.hash = '#detector-10'")
        expect(visit.page.locator("#detector-10")).to_be_in_viewport()
        expect(visit.page.get_by_label("Search")).to_have_value("")
        assert len(visit.shown()) == 12
        visit.page.locator("#detector-4").get_by_role("link").click()
        assert visit.page.url.endswith("#detector-4")
        assert visit.complaints == []


def test_everything_works_from_the_keyboard(visit: Visit) -> None:
    visit.page.keyboard.press("Tab")
    expect(visit.page.get_by_role("link", name="Skip to the detectors")).to_be_focused()
    visit.page.keyboard.press("Enter")
    visit.page.keyboard.press("Tab")
    expect(visit.page.get_by_label("Search")).to_be_focused()
    visit.page.keyboard.type("label 5")
    assert visit.shown() == [5]
    visit.page.keyboard.press("Enter")  # submits nothing
    assert visit.shown() == [5]


def test_pictures_load_late_and_nothing_comes_from_elsewhere(visit: Visit, report_page: Path) -> None:
    assert visit.page.locator("img[loading=lazy][width][height]").count() == 12
    for image in visit.page.locator(".card img").all():
        image.scroll_into_view_if_needed()
        visit.page.wait_for_function(
            "image => image.complete && image.naturalWidth", arg=image.element_handle()
        )
    own = (report_page.parent.as_uri() + "/", "data:")
    assert [url for url in visit.requests if not url.startswith(own)] == []
    assert visit.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("which", ["report_page", "hostile_page"])
def test_accessible_quiet_and_no_wider_than_the_screen(
    browser: Browser, which: str, size: tuple[int, int], scheme: str, request: pytest.FixtureRequest
) -> None:
    for visit in visiting(browser, request.getfixturevalue(which), size, color_scheme=scheme):
        found = Axe().run(visit.page).response
        assert len(found["passes"]) > 20
        assert [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]] == []
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert visit.complaints == []


@pytest.mark.parametrize("which", ["report_page", "hostile_page"])
def test_tables_are_whole_on_a_phone(browser: Browser, which: str, request: pytest.FixtureRequest) -> None:
    for visit in visiting(browser, request.getfixturevalue(which), PHONE):
        cells = visit.page.locator(".wide td:visible")
        assert cells.count() > 20
        edges = cells.evaluate_all("all => all.map(one => one.getBoundingClientRect().right)")
        assert max(edges) <= PHONE[0]
        tables = visit.page.locator(".wide")
        assert tables.evaluate_all("all => all.every(one => one.scrollWidth <= one.clientWidth)")
        first = visit.page.get_by_role("table").first.get_by_role("row").nth(1)  # still a table for readers
        assert first.get_by_role("cell").count() == 5
        head = "one => getComputedStyle(one, '::before').content"
        assert first.get_by_role("cell").nth(1).evaluate(head) == '"S1 "'


def test_accessibility_check_would_find_something(visit: Visit) -> None:
    visit.page.evaluate("document.querySelector('.card img').removeAttribute('alt')")
    assert [each["id"] for each in Axe().run(visit.page).response["violations"]] == ["image-alt"]


def test_hostile_names_are_shown_as_they_are(browser: Browser, hostile_page: Path) -> None:
    for visit in visiting(browser, hostile_page):
        for number, name in enumerate(HOSTILE):
            card = visit.page.locator(f"#detector-{number}")
            assert card.locator(".label").text_content() == name
            assert card.get_attribute("data-label") == name
            assert name in (card.locator("img").get_attribute("alt") or "")
            assert f"{name} class" in (card.locator(".classes").text_content() or "")
        assert visit.page.locator("script").count() == 1
        assert visit.page.locator("h1").count() == 1
        assert visit.page.locator("img").count() == len(HOSTILE)
        assert visit.page.evaluate("window.hit") is None
        visit.page.get_by_label("Search").fill('"><img')
        assert visit.shown() == [1, 4]  # a label, and a category
        visit.page.get_by_label("Category", exact=True).select_option(label=HOSTILE[1])
        assert visit.shown() == [1, 4]
        visit.page.get_by_label("Search").fill("{{ 7 * 7 }}")
        assert visit.shown() == [4]
        assert visit.complaints == []


def test_no_other_script_may_run(visit: Visit) -> None:
    visit.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {text: 'window.hit = 1'}))"
    )
    assert visit.page.evaluate("window.hit") is None
    assert re.search("Content Security Policy", " ".join(visit.complaints))


def test_page_without_scripts_shows_everything(browser: Browser, report_page: Path) -> None:
    for visit in visiting(browser, report_page, java_script_enabled=False):
        expect(visit.page.locator("#controls")).to_be_hidden()
        assert visit.page.locator(".card:visible").count() == 12
