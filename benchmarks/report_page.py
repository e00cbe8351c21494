"""How long a report takes to open in headless Chromium, and how much of the disk it takes.

Each round is a browser of its own, without a cache; the limit is an empty page in the same round. Make the
report first, for instance of 512 detectors: `python evaluate.py report --ckpt_path CKPT --out DIR`.
"""

import tempfile
from pathlib import Path

from harness import finish, ratios, spread
from jsonargparse import auto_cli
from playwright.sync_api import sync_playwright

FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
EVENTS = """() => {
  const seen = performance.getEntriesByType("navigation")[0];
  return [seen.domContentLoadedEventEnd, seen.loadEventEnd];
}"""
SCREENS = {"desktop": (1280, 900), "phone": (390, 844)}


def main(report: str, repeats: int = 5, chromium: str = "/usr/bin/chromium", json: str | None = None) -> None:
    """Print megabytes, and milliseconds until DOMContentLoaded and load, on a desktop's and a phone's screen.

    Args:
        report: folder that `evaluate.py report` wrote.
        repeats: rounds.
        chromium: the browser's program.
        json: file to write.
    """
    folder = Path(report)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        empty = Path(scratch, "empty.html")
        empty.write_text("<!DOCTYPE html><title>empty</title>", encoding="utf-8")
        for screen, viewport in SCREENS.items():
            pages = (folder / "index.html", empty)
            times = [[_open(page, viewport, chromium) for page in pages] for _ in range(repeats)]
            for number, event in enumerate(("DOMContentLoaded", "load")):
                seen, limit = ([each[page][number] for each in times] for page in (0, 1))
                rows.append(
                    {
                        "screen": screen,
                        "event": event,
                        "milliseconds": spread(seen),
                        "of_empty_page": ratios(seen, limit),
                        "megabytes": size,
                    }
                )
    finish("Opening a report", rows, {"report": report, "repeats": repeats}, json)


def _open(page: Path, viewport: tuple[int, int], chromium: str) -> tuple[float, float]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        width, height = viewport
        tab = browser.new_page(viewport={"width": width, "height": height})
        tab.goto(page.resolve().as_uri(), wait_until="load")
        content, load = tab.evaluate(EVENTS)
        browser.close()
    return content, load


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
