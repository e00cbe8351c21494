"""Pages in a real headless Chromium, straight from files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP, PHONE = (1280, 900), (390, 844)

needs_chromium = pytest.mark.skipif(
    not CHROMIUM.exists(), reason="needs Debian's Chromium: apt-get install chromium"
)


class Visit:
    """A page, what it complained of and what it asked for."""

    def __init__(self, page: Page) -> None:
        self.page, self.complaints, self.requests = page, [], []  # type: Page, list[str], list[str]
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: self.requests.append(request.url))

    def shown(self) -> list[int]:
        """Numbers of the visible cards in their order."""
        return [int(each.get_attribute("data-number")) for each in self.page.locator(".card:visible").all()]


def visiting(
    browser: Browser,
    path: Path,
    size: tuple[int, int] = DESKTOP,
    anchor: str = "",
    **options: Any,  # noqa: ANN401 - of Playwright
) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
    visit = Visit(context.new_page())
    visit.page.goto(path.as_uri() + anchor)
    yield visit
    context.close()
