"""Conversion to shards: the same bytes, whole or not at all."""

import errno
import hashlib
import io
import json
import re
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.data.builders import edit
from tests.running import run
from uibe.data import convert as module
from uibe.data.convert import convert, main
from uibe.data.index import BrodenIndex
from uibe.data.synthetic import render
from uibe.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("set") / "s", num_train=12, num_val=5, image_size=32, mask_size=16)


def uses(root: Path, split: str) -> list[list[str]]:
    """The files of each row of a split, in order."""
    rows = [row for row in BrodenIndex.read(root).rows if row.split == split]
    return [[row.image, *(mask for cell in row.cells for mask in cell.masks)] for row in rows]


def members(path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(path) as tar:
        return [(info, tar.extractfile(info).read()) for info in tar]  # type: ignore[union-attr]


@pytest.mark.parametrize("split", ["train", "val"])
def test_shards_hold_the_files_of_each_row_in_order(rendered: Path, tmp_path: Path, split: str) -> None:
    out = convert(rendered, tmp_path / "out", shard_megabytes=0.02, block_bytes=5000)
    found = [pair for path in sorted(out.glob(f"{split}-*.tar")) for pair in members(path)]
    expected = [name for names in uses(rendered, split) for name in names]
    assert [data for _, data in found] == [(rendered / "images" / name).read_bytes() for name in expected]
    assert all((info.mtime, info.uid, info.gid, info.mode) == (0, 0, 0, 0o644) for info, _ in found)
    assert len(list(out.glob("train-*.tar"))) > 2
    for name in ("index.csv", "label.csv", "category.csv"):
        assert (out / name).read_bytes() == (rendered / name).read_bytes()


def test_index_says_where_the_bytes_are(rendered: Path, tmp_path: Path) -> None:
    out = convert(rendered, tmp_path / "out", shard_megabytes=0.02, block_bytes=5000)
    record = json.loads((out / "shards.json").read_text())
    number = 0
    for shard in record["shards"]:
        content = (out / shard["name"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (shard["size"], shard["sha256"])
        assert len(content) % 10240 == 0
        for _ in range(sum(shard["blocks"])):
            name, offset, size, _ = (
                record["members"][key][number] for key in ("name", "offset", "size", "crc32")
            )
            assert content[offset : offset + size] == (rendered / name).read_bytes()
            number += 1
    assert number == len(record["members"]["name"]) == len((out / "digests.bin").read_bytes()) / 32


def test_webdataset_reads_the_shards(rendered: Path, tmp_path: Path) -> None:
    tariterators = pytest.importorskip("webdataset.tariterators")
    out = convert(rendered, tmp_path / "out")
    with open(out / "train-00000.tar", "rb") as file:
        files = tariterators.tar_file_expander([{"url": "train-00000.tar", "stream": file}])
        samples = list(tariterators.group_by_keys(files))
    assert [sample["__key__"] for sample in samples] == [f"{number:08d}" for number in range(12)]
    for sample, names in zip(samples, uses(rendered, "train"), strict=True):
        found = [data for key, data in sample.items() if not key.startswith("__")]
        assert found == [(rendered / "images" / name).read_bytes() for name in names]


def test_twice_gives_the_same_bytes(rendered: Path, tmp_path: Path) -> None:
    shutil.copytree(rendered, tmp_path / "elsewhere")  # with other times
    first, second = (
        {path.name: path.read_bytes() for path in convert(root, tmp_path / name, 0.02).iterdir()}
        for root, name in ((rendered, "a"), (tmp_path / "elsewhere", "b"))
    )
    assert first == second


def test_shared_files_are_with_each_row(broden_root: Path, tmp_path: Path) -> None:
    out = convert(broden_root, tmp_path / "out")
    assert [info.name for info, _ in members(out / "val-00000.tar")] == [
        "00000002.jpg",
        "00000003.jpg",
        "00000003.object.0.png",
    ]
    assert members(out / "val-00000.tar")[2][1] == (broden_root / "images/a/0_object.png").read_bytes()


def test_damaged_rows_are_refused_or_skipped(
    broden_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (broden_root / "images/a/1.png").write_bytes(b"none")
    with pytest.raises(DataError, match=r"1\.png"):
        convert(broden_root, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    out = convert(broden_root, tmp_path / "out", damaged="skip")
    assert json.loads((out / "shards.json").read_text())["skipped"] == [3]
    assert "images/a/1.png" not in (out / "shards.json").read_text()
    assert re.search(r"skipped: .*1\.png.*line 3", caplog.text)


def test_split_without_images_is_refused(broden_root: Path, tmp_path: Path) -> None:
    edit(broden_root / "index.csv", "b/2.jpg,val", "b/2.jpg,train")
    edit(broden_root / "index.csv", "b/3.jpg,val", "b/3.jpg,train")
    with pytest.raises(DataError, match="no row has split 'val'"):
        convert(broden_root, tmp_path / "out")


def test_current_folder_can_be_written(
    broden_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert convert(broden_root, ".") == tmp_path / "here"
    assert (tmp_path / "here" / "shards.json").is_file()


def test_folder_in_use_is_refused(broden_root: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    convert(broden_root, tmp_path / "out")  # empty
    with pytest.raises(DataError, match="in use"):
        convert(broden_root, tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="in use"):
        convert(broden_root, tmp_path / "file")


def test_full_disk_leaves_nothing(broden_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module._TarWriter, "_write", full)
    with pytest.raises(DataError, match=r"out: cannot be written.*No space left.*free space"):
        convert(broden_root, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [broden_root]


def test_too_small_a_disk_is_said_before(
    broden_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100))
    with pytest.raises(DataError, match=r"\d{4} bytes needed, 100 free"):
        convert(broden_root, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [broden_root]


@pytest.mark.parametrize("options", [{"shard_megabytes": 0}, {"block_bytes": -1}])
def test_sizes_must_be_positive(broden_root: Path, tmp_path: Path, options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="expected above 0"):
        convert(broden_root, tmp_path / "out", **options)


def test_command_line(broden_root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    outcome = run(main, ["--root", broden_root, "--out", out, "--shard_megabytes", "0.001"])
    assert (outcome.code, outcome.err) == (0, "")
    assert re.search(r"2 shards in .*out", outcome.out)
    again = run(main, ["--root", broden_root, "--out", out])
    assert again.code == 1
    assert again.err == f"error: {out}: in use; choose another folder or delete this one\n"
    edit(broden_root / "index.csv", "a/0.jpg,", "a/9.jpg,")
    missing = run(main, ["--root", broden_root, "--out", tmp_path / "other"])
    assert missing.code == 1
    assert len(missing.err.splitlines()) == 1


def test_writer_is_a_tar_of_any_length() -> None:
    for size in (0, 1, 511, 512, 513, 9_000, 10_240):
        file = io.BytesIO()
        writer = module._TarWriter(file)  # type: ignore[arg-type]
        offset = writer.append("00000000.jpg", bytes(size))
        writer.finish()
        assert (offset, writer.size % 10240, writer.size) == (512, 0, len(file.getvalue()))
        file.seek(0)
        with tarfile.open(fileobj=file) as tar:
            assert tar.getnames() == ["00000000.jpg"]
