"""Files are whole under their name, or not there."""

import os
import stat
from pathlib import Path

import pytest

from tests.hostile.faults import full_disk
from uibe.files import hidden_name, publish, temporary_file, write_whole


def test_a_file_replaces_what_had_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for content in (b"long before", b"now", b""):
        write_whole(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    forced = []

    def fsync(number: int) -> None:
        assert not path.exists()
        forced.append(os.fstat(number).st_size)

    monkeypatch.setattr(os, "fsync", fsync)
    write_whole(path, b"1234")
    assert forced == [4]


def test_others_may_read_it_as_the_user_s_mask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "a", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_full_disk_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    write_whole(path, b"before")
    with full_disk(100), pytest.raises(OSError, match="too large"):
        write_whole(path, bytes(1000))
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_breaks_off_leaves_nothing(error: type[BaseException], tmp_path: Path) -> None:
    def break_off() -> None:
        with temporary_file(tmp_path / "a") as temporary:
            temporary.write_bytes(b"half")
            raise error

    with pytest.raises(error):
        break_off()
    assert list(tmp_path.iterdir()) == []


def test_a_leftover_is_removed_from_a_folder_that_was_renamed(tmp_path: Path) -> None:
    begun, moved = tmp_path / "begun", tmp_path / "moved"
    begun.mkdir()

    def write() -> None:
        with temporary_file(begun / "a", moved) as temporary:
            temporary.write_bytes(b"half")
            begun.rename(moved)
            publish(temporary, begun / "a")

    with pytest.raises(FileNotFoundError):
        write()
    assert list(moved.iterdir()) == []


def test_a_missing_folder_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "nowhere" / "a", b"")


def test_names_are_hidden_beside_the_file_and_never_alike(tmp_path: Path) -> None:
    names = {hidden_name(tmp_path / "a.csv") for _ in range(100)}
    assert len(names) == 100
    assert all(name.parent == tmp_path and name.name.startswith(".a.csv.") for name in names)
