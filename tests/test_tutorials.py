"""Every command and snippet of the tutorials runs, page by page; the site builds without a warning."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from PIL import Image

from docs import pictures
from docs.reference import modules
from tests.documents import FENCE, KNOWN, ROOT, commands, run_command, runnable, small_places
from tests.running import Run, run
from uibe.errors import ConfigError

PAGES = sorted((ROOT / "docs" / "tutorials").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
@pytest.mark.filterwarnings("ignore:the data has no labels")
def test_page_runs_from_top_to_bottom(
    page: Path, trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    places = small_places(trained, tmp_path)
    text = page.read_text(encoding="utf-8")
    runnable(text)
    for fence in re.finditer(r"^```(\w+)( title=\"([\w.]+)\")?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        language, name, body = fence[1], fence[3], fence[4]
        if name:
            (tmp_path / name).write_text(body, encoding="utf-8")
        elif language == "python":
            body = _placed(body, trained, tmp_path)
            exec(compile(body, page.name, "exec"), {"__name__": "tutorial"})  # noqa: S102 - our own text
        elif language == "bash":
            for command in commands(fence[0]):
                if not command.startswith(KNOWN):
                    outcome = run_command(_placed(command, trained, tmp_path), places)
                    assert outcome.code == 0, (command, outcome.err)
    sys.modules.pop("my_network", None)


def _placed(command: str, trained: Run, folder: Path) -> str:
    """A command that names a run, with the one that the page began, or the shared one, which has pictures."""
    for version in set(re.findall(r"runs/uibe/version_\d", command)):
        own = folder / "logs" / version.removeprefix("runs/")
        begun = own.is_dir() and "pictures.py" not in command
        command = command.replace(version, str(own if begun else trained.folder))
    return command


def test_pages_have_commands() -> None:
    assert len(PAGES) >= 5
    for page in PAGES:
        assert runnable(page.read_text(encoding="utf-8")), page.name


def test_pictures_of_pages_are_there_small_and_made_by_a_command() -> None:
    shown = set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for name in re.findall(r"!\[[^\]]+\]\(\.\./images/([\w.]+)\)", text):
            shown.add(name)
            joined = text.replace("\\\n ", "")
            # two are figures of `compare` and `explain`, made smaller
            made = name in ("comparison.png", "explanation.png") or f"--out docs/images/{name}" in joined
            assert made
    found = {path.name for path in (ROOT / "docs" / "images").iterdir()}
    others = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md"))
    soak = {"soak.png"}  # twenty minutes of `benchmarks/soak.py`
    assert set(re.findall(r"\(images/([\w.]+)\)", others)) - shown == soak
    assert found == shown | soak
    for name in found:
        path = ROOT / "docs" / "images" / name
        assert path.stat().st_size < 120_000
        with Image.open(path) as picture:
            assert picture.width >= 300


def test_fences_are_of_known_languages() -> None:
    for page in PAGES:
        assert {language for language, _ in FENCE.findall(page.read_text(encoding="utf-8"))} <= {
            "bash",
            "console",
            "python",
        }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; strict, so that a warning fails."""
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_MKDOCS_2_WARNING", "1")
        patch.chdir(ROOT)
        config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True)
        config.plugins.on_startup(command="build", dirty=False)
        build(config)
    return folder


def test_every_public_module_has_its_page(site: Path) -> None:
    assert "uibe.functional.scores" in modules()
    assert "uibe.modules.basis" in modules()
    for name in modules():
        page = (site / "reference" / f"{name}.html").read_text(encoding="utf-8")
        specification = importlib.util.find_spec(name)
        assert specification is not None
        assert f'id="{name}' in page, name


def test_reference_shows_docstrings(site: Path) -> None:
    page = (site / "reference" / "uibe.functional.scores.html").read_text(encoding="utf-8")
    assert "uibe.functional.scores.DissectionScores" in page
    assert "Headline numbers of a set of detectors" in page


def test_site_asks_nothing_of_other_servers(site: Path) -> None:
    fetched = re.compile(r"<(?:script|img|iframe)[^>]+src=\"?(?:https?:)?//|<link[^>]+href=\"?(?:https?:)?//")
    for page in site.rglob("*.html"):
        assert not fetched.search(page.read_text(encoding="utf-8")), page


def test_missing_picture_is_named(trained: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no picture 'nothing', only detectors/00"):
        pictures.picture(str(trained.folder), "nothing", str(tmp_path / "x.png"))
    assert run(pictures.main, ["--run", trained.folder, "--tag", "x", "--out", tmp_path / "x.png"]).code == 1
