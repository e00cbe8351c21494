"""Unpacking what came from somewhere: inside the folder and whole, or nothing at all."""

import stat
import zipfile
from pathlib import Path

import pytest

from uibe.data import archive
from uibe.data.archive import unpack
from uibe.errors import DataError


def zipped(path: Path, files: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return path


def found(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


FILES: dict[str, str | bytes] = {"top/a": "1", "top/in/b": b"\0\1", "top/in/c": ""}


def test_the_single_folder_of_an_archive_is_left_out(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"top/": "", "top/empty/": "", "__MACOSX/top/._a": "", **FILES})
    assert unpack(path, tmp_path / "out", progress=True) == tmp_path / "out"
    assert found(tmp_path / "out") == {"a": b"1", "in/b": b"\0\1", "in/c": b""}


@pytest.mark.parametrize("other", ["x", "other/x"])
def test_several_folders_are_kept(tmp_path: Path, other: str) -> None:
    unpack(zipped(tmp_path / "a.zip", {**FILES, other: "2"}), tmp_path / "out")
    assert set(found(tmp_path / "out")) == {*FILES, other}


def test_empty_folder_may_be_there(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert len(found(unpack(zipped(tmp_path / "a.zip", FILES), tmp_path / "out"))) == 3


def refused(path: Path, message: str) -> None:
    """The archive must be refused, with nothing written, inside or outside."""
    before = found(path.parent)
    with pytest.raises(DataError, match=message) as caught:
        unpack(path, path.parent / "a" / "out")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert found(path.parent) == before
    assert not (path.parent / "a" / "out").exists()


OUTSIDE = ["../x", "top/../../x", "/x", "//server/share/x", "C:x", "C:\\x", "..\\x", "top\\..\\..\\x", "a/.."]


@pytest.mark.parametrize("name", OUTSIDE)
def test_paths_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    refused(zipped(tmp_path / "a.zip", {**FILES, name: "x"}), "would be written outside of the folder")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    info = zipfile.ZipInfo("top/link")
    info.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("top/a", "1")
        file.writestr(info, "/etc/passwd")
    refused(tmp_path / "a.zip", "'top/link' is a link or no plain file")


def test_encrypted_archive_is_refused(tmp_path: Path) -> None:
    data = bytearray(zipped(tmp_path / "a.zip", {"x": "1"}).read_bytes())
    data[6] |= 1  # local header
    data[data.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    refused(tmp_path / "a.zip", "'x' is encrypted")


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    data = zipped(tmp_path / "a.zip", {"x1": "1", "x2": "2"}).read_bytes()
    (tmp_path / "a.zip").write_bytes(data.replace(b"x2", b"x1"))
    refused(tmp_path / "a.zip", "two files of one name")


def test_bomb_is_refused(tmp_path: Path) -> None:
    refused(zipped(tmp_path / "a.zip", {"x": bytes(3_000_000)}), r"unpack to 3000000, more than 100 times")


def test_lack_of_space_is_seen_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = archive.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda path: usage._replace(free=2))
    refused(zipped(tmp_path / "a.zip", FILES), "3 bytes needed to unpack .*, 2 free")


@pytest.mark.parametrize("keep", [0, 10, 40, -1])
def test_cut_archive_is_refused(tmp_path: Path, keep: int) -> None:
    path = zipped(tmp_path / "a.zip", FILES)
    path.write_bytes(path.read_bytes()[:keep])
    refused(path, "not a whole zip file")


def test_wrong_checksum_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:  # stored as it is
        file.writestr("x", "content")
    data = (tmp_path / "a.zip").read_bytes().replace(b"content", b"c0ntent")
    (tmp_path / "a.zip").write_bytes(data)
    refused(tmp_path / "a.zip", r"not a whole zip file \(Bad CRC")


def test_no_zip_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("<html>sign in first</html>")
    refused(tmp_path / "a.zip", "not a whole zip file")


def test_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a" / "out").mkdir(parents=True)
    (tmp_path / "a" / "out" / "mine").write_text("")
    with pytest.raises(DataError, match="cannot be unpacked"):
        unpack(zipped(tmp_path / "a.zip", FILES), tmp_path / "a" / "out")
    assert found(tmp_path / "a") == {"out/mine": b""}


def test_failed_check_leaves_nothing(tmp_path: Path) -> None:
    def check(folder: Path) -> None:
        assert len(found(folder)) == 3
        raise DataError("not this")

    with pytest.raises(DataError, match="not this"):
        unpack(zipped(tmp_path / "a.zip", FILES), tmp_path / "out", check)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
