"""A data set from a zip file behind a URL: read before it has its name, or a line that says what to do."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data.groups import ended, start
from tests.loopback import Loopback, serve
from uibe.data import remote
from uibe.data.index import BrodenIndex
from uibe.data.published import RELEASES, download_broden
from uibe.errors import DataError


@pytest.fixture
def server(broden_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """Serves the hand-made set as `set.zip`, in one folder as the published ones are."""
    monkeypatch.setattr(remote.RemoteFile.__init__, "__defaults__", (2, 0.001, 20.0))
    shutil.make_archive(str(tmp_path / "served" / "set"), "zip", broden_root.parent, broden_root.name)
    with serve(tmp_path / "served") as running:
        yield running


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_set_is_fetched_once(server: Loopback, broden_root: Path, tmp_path: Path) -> None:
    url, root = f"{server.url}/set.zip", tmp_path / "data" / "set"
    for _ in range(2):
        assert download_broden(url, root, progress=True) == root
    assert len(server.gets()) == 1
    assert names(tmp_path / "data") == {"set"}
    assert BrodenIndex.read(root).rows == BrodenIndex.read(broden_root).rows
    assert (root / "images/a/0.jpg").read_bytes() == (broden_root / "images/a/0.jpg").read_bytes()
    content = (tmp_path / "served" / "set.zip").read_bytes()
    record = {"url": url, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert json.loads((root / "source.json").read_text()) == record


def test_broken_download_is_gone_on_with(server: Loopback, tmp_path: Path) -> None:
    server.failures.extend(["cut"] * 3)
    with pytest.raises(DataError, match="3 attempts") as caught:
        download_broden(f"{server.url}/set.zip", tmp_path / "data" / "set")
    by_hand = f"or by hand: fetch {server.url}/set.zip elsewhere, put it here as {tmp_path}/data/set.zip"
    assert by_hand in str(caught.value)
    assert f"{tmp_path}/data/set/index.csv is there" in str(caught.value)
    assert "\n" not in str(caught.value)
    download_broden(f"{server.url}/set.zip", tmp_path / "data" / "set")
    assert names(tmp_path / "data") == {"set"}


def test_without_a_network_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote.RemoteFile.__init__, "__defaults__", (1, 0.001, 20.0))
    url = "http://127.0.0.1:9/broden1_224.zip"  # nobody listens there
    with pytest.raises(DataError, match=r"2 attempts .*by hand: fetch http://127"):
        download_broden(url, tmp_path / "data" / "set")
    assert names(tmp_path / "data") == set()


def test_archive_that_was_put_there_is_used_and_left(server: Loopback, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    shutil.copy(tmp_path / "served" / "set.zip", tmp_path / "data" / "set.zip")
    download_broden("http://127.0.0.1:9/set.zip", tmp_path / "data" / "set")
    assert names(tmp_path / "data") == {"set", "set.zip"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<html>", "not a whole zip file"),
        (None, "not a data set in Broden's format: category.csv: no such file"),
    ],
)
def test_wrong_file_is_refused_and_nothing_is_left(
    server: Loopback, tmp_path: Path, content: str | None, message: str
) -> None:
    served = tmp_path / "served" / "set.zip"
    if content is not None:
        served.write_text(content)
    else:
        shutil.make_archive(str(served.with_suffix("")), "zip", tmp_path / "broden", "images")
    with pytest.raises(DataError, match=message) as caught:
        download_broden(f"{server.url}/set.zip", tmp_path / "data" / "set")
    assert f"{server.url}/set.zip" in str(caught.value)
    assert names(tmp_path / "data") == set()


def test_cut_archive_is_refused_and_nothing_is_left(server: Loopback, tmp_path: Path) -> None:
    server.lie = -10
    with pytest.raises(DataError, match="not a whole zip file"):
        download_broden(f"{server.url}/set.zip", tmp_path / "data" / "set")
    assert names(tmp_path / "data") == set()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_other_content_is_kept(server: Loopback, tmp_path: Path, kind: str) -> None:
    root = tmp_path / "data"
    if kind == "folder":
        root.mkdir()
    (root / "mine" if kind == "folder" else root).write_text("")
    with pytest.raises(DataError, match=r"data: has no index\.csv but something else; choose another folder"):
        download_broden(f"{server.url}/set.zip", root)
    assert server.requests == []


def test_processes_fetch_the_same_set_at_once(server: Loopback, tmp_path: Path) -> None:
    url, root = f"{server.url}/set.zip", tmp_path / "data" / "set"
    runs = [start(lambda: download_broden(url, root)) for _ in range(3)]
    assert [ended(pid) for pid in runs] == [0, 0, 0]
    assert names(tmp_path / "data") == {"set"}


def test_published_addresses() -> None:
    assert RELEASES[227] == "http://netdissect.csail.mit.edu/data/broden1_227.zip"
    assert list(RELEASES) == [224, 227, 384]
