"""Fetching over a bad connection from a bad server: whole and right, or one clear error."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data.groups import ended, start
from tests.loopback import Loopback, serve
from uibe.data import download, remote
from uibe.data.download import fetch
from uibe.errors import DataError

CONTENT = os.urandom(100_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PIECE = 10_000


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    monkeypatch.setattr(remote.RemoteFile.__init__, "__defaults__", (2, 0.001, 20.0))
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "set.zip").write_bytes(CONTENT)
    with serve(tmp_path / "served") as running:
        yield running


def got(server: Loopback, folder: Path, **options: object) -> bytes:
    return fetch(f"{server.url}/set.zip", folder / "set.zip", piece=PIECE, **options).read_bytes()  # type: ignore[arg-type]


def left(folder: Path) -> list[str]:
    """Names of the files in a folder."""
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize("progress", [False, True])
def test_file_is_fetched_in_pieces(server: Loopback, tmp_path: Path, progress: bool) -> None:
    known = {"sha256": SHA256, "size": 100_000}
    assert got(server, tmp_path / "new" / "here", progress=progress, **known) == CONTENT
    assert left(tmp_path / "new" / "here") == ["set.zip"]
    assert len(server.gets()) == 10
    assert server.sent == 100_000


def test_file_that_is_there_is_not_fetched(server: Loopback, tmp_path: Path) -> None:
    (tmp_path / "set.zip").write_bytes(b"by hand")
    assert got(server, tmp_path) == b"by hand"
    assert server.requests == []
    with pytest.raises(DataError, match=r"7 bytes, expected 9: the wrong file.*delete \S+set\.zip"):
        got(server, tmp_path, size=9)
    assert left(tmp_path) == ["served", "set.zip"]


def test_cut_connection_costs_one_piece_at_most(server: Loopback, tmp_path: Path) -> None:
    server.failures.extend([None, None, None, "cut", None, "short"])
    assert got(server, tmp_path) == CONTENT
    assert server.sent == 100_000 + PIECE  # two halves


def test_download_goes_on_where_it_broke_off(server: Loopback, tmp_path: Path) -> None:
    server.failures.extend([*[None] * 6, "cut", "cut", "cut"])
    with pytest.raises(DataError, match="bytes 60000 to 70000 cannot be read, 3 attempts"):
        got(server, tmp_path)
    assert left(tmp_path) == ["served", "set.zip.part", "set.zip.part.json"]
    server.sent = 0
    assert got(server, tmp_path, sha256=SHA256) == CONTENT
    assert server.sent == 40_000
    assert left(tmp_path) == ["served", "set.zip"]


def test_killed_download_goes_on(server: Loopback, tmp_path: Path) -> None:
    def die(name: str, wanted: str) -> None:
        if wanted.startswith("bytes=70000"):
            os.kill(pid, 9)

    server.decide = die
    pid = start(lambda: got(server, tmp_path))
    assert ended(pid) == -9
    server.decide = lambda name, wanted: None
    server.sent = 0
    assert got(server, tmp_path, sha256=SHA256) == CONTENT
    assert server.sent <= 40_000


@pytest.mark.parametrize("header", ["ETag", "Last-Modified"])
def test_changed_file_is_fetched_from_its_beginning(server: Loopback, tmp_path: Path, header: str) -> None:
    server.headers[header] = '"1"'
    server.failures.extend([None, "404"])
    with pytest.raises(DataError, match="no such file"):
        got(server, tmp_path)
    server.headers[header] = '"2"'
    (tmp_path / "served" / "set.zip").write_bytes(CONTENT[::-1])
    assert got(server, tmp_path) == CONTENT[::-1]


def test_file_of_another_size_is_fetched_from_its_beginning(server: Loopback, tmp_path: Path) -> None:
    server.failures.extend([None, "404"])
    with pytest.raises(DataError, match="no such file"):
        got(server, tmp_path)
    (tmp_path / "served" / "set.zip").write_bytes(CONTENT[1:])
    assert got(server, tmp_path) == CONTENT[1:]


@pytest.mark.parametrize("progress", [False, True])
def test_server_without_ranges_sends_one_stream(server: Loopback, tmp_path: Path, progress: bool) -> None:
    server.always["set.zip"] = "ignore"
    assert got(server, tmp_path, sha256=SHA256, progress=progress) == CONTENT


def test_server_that_stops_serving_ranges_sends_one_stream(server: Loopback, tmp_path: Path) -> None:
    server.failures.extend([None, None, *["ignore"] * 2])
    assert got(server, tmp_path, sha256=SHA256) == CONTENT


@pytest.mark.parametrize(("lie", "message"), [(10, "came instead of|416"), (-10, "SHA-256 .*, expected")])
def test_lie_about_the_length_is_seen(server: Loopback, tmp_path: Path, lie: int, message: str) -> None:
    server.lie = lie
    with pytest.raises(DataError, match=message):
        got(server, tmp_path, sha256=SHA256)
    assert "set.zip" not in left(tmp_path)


def test_lie_about_the_length_of_a_stream_is_seen(server: Loopback, tmp_path: Path) -> None:
    server.lie = -10
    server.always["set.zip"] = "ignore"
    with pytest.raises(DataError, match="100000 bytes came, 99990 were announced"):
        got(server, tmp_path)
    assert left(tmp_path) == ["served"]


def test_other_length_than_known_is_refused_at_once(server: Loopback, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"set\.zip: 100000 bytes; expected 99"):
        got(server, tmp_path, size=99)
    assert server.sent == 0


def test_wrong_content_is_refused_and_removed(server: Loopback, tmp_path: Path) -> None:
    (tmp_path / "served" / "set.zip").write_bytes(b"<html>")
    with pytest.raises(DataError, match=rf"set\.zip: SHA-256 [0-9a-f]+, expected {SHA256}"):
        got(server, tmp_path, sha256=SHA256)
    assert left(tmp_path) == ["served"]


@pytest.mark.parametrize(("status", "message"), [("404", "no such file"), ("403", "access is denied")])
def test_answers_that_are_final(server: Loopback, tmp_path: Path, status: str, message: str) -> None:
    server.always["set.zip"] = status
    with pytest.raises(DataError, match=message):
        got(server, tmp_path)
    assert "set.zip" not in left(tmp_path)


def test_no_space_is_seen_before(server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = download.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: usage._replace(free=99))
    with pytest.raises(DataError, match="100000 bytes needed, 99 free"):
        got(server, tmp_path)
    assert server.sent == 0


def test_place_that_cannot_be_written(server: Loopback, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written"):
        got(server, tmp_path / "served" / "set.zip")


def test_processes_fetch_the_same_file_at_once(server: Loopback, tmp_path: Path) -> None:
    runs = [start(lambda: got(server, tmp_path, sha256=SHA256)) for _ in range(3)]
    assert [ended(pid) for pid in runs] == [0, 0, 0]
    assert (tmp_path / "set.zip").read_bytes() == CONTENT


def test_damaged_record_begins_anew(server: Loopback, tmp_path: Path) -> None:
    (tmp_path / "set.zip.part").write_bytes(b"x" * 20_000)
    (tmp_path / "set.zip.part.json").write_text(json.dumps({"url": "another"}))
    assert got(server, tmp_path) == CONTENT
