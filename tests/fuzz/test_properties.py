"""Any text and any bytes where a file is expected: read, or refused in one line. A few hundred examples."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_modules.configs import check_configs
from lightning_modules.resume import run_to_resume
from tests.fuzz.folders import read_csv, write_csv, write_folder
from tests.fuzz.oracle import read_set
from uibe.data.broden import BrodenDataset, BrodenIndex, ImageLabels
from uibe.data.cache import CacheKey, FeatureCache, fill
from uibe.data.images import decode_mask, decode_rgb
from uibe.data.shard_index import FORMAT, ShardIndex, sealed
from uibe.errors import ConfigError, DataError, MismatchError
from uibe.library.checkpoint import read_checkpoint
from uibe.modules.weights import read_weights

OURS = (ConfigError, DataError, MismatchError)
quick = settings(max_examples=40, deadline=None, derandomize=True, database=None)
cells = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["", "0", "6", "700", "a/0_object.png", "../x", "train", "val", ";", "1;6", "object(2)"]),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def refused_in_one_line(read: Callable[[], object], *mentions: str) -> bool:
    """Whether it is refused, in which case the message must be one line that says where."""
    try:
        read()
    except OURS as error:
        message = str(error)
    else:
        return False
    assert len(message.splitlines()) == 1, message
    assert all(mention in message for mention in mentions), message
    return True


@quick
@given(
    name=st.sampled_from(["index.csv", "label.csv", "category.csv"]),
    changes=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), cells), max_size=2),
)
def test_any_cells_are_read_as_the_oracle_does_or_refused(
    name: str, changes: list[tuple[int, int, str]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = write_folder(Path(folder))
        rows = read_csv(root / name)
        for line, column, text in changes:
            row = rows[line % len(rows)]
            row[column % len(row)] = text
        write_csv(root / name, rows)
        found: list[ImageLabels] = []

        def read() -> None:
            dataset = BrodenDataset(BrodenIndex.read(root))
            found.extend(dataset.labels(number) for number in range(len(dataset)))

        if not refused_in_one_line(read, ".csv"):
            truth = read_set(root, range(len(found)))
            for labels, expected in zip(found, truth.rows, strict=True):
                assert labels.planes.tolist() == expected.planes.tolist()
                assert labels.image_wide.tolist() == expected.image_wide
                assert labels.annotated.tolist() == expected.annotated


@quick
@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"II*\0"]),
)
def test_any_bytes_for_a_picture(content: bytes, begin: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.png"
        path.write_bytes(begin + content)
        for decode in (decode_rgb, decode_mask):
            refused_in_one_line(lambda decode=decode: decode(path, str(path)), "x.png")  # type: ignore[misc]


@quick
@given(json_values, st.dictionaries(st.sampled_from(["files", "skipped", "shards", "members"]), json_values))
def test_any_json_for_an_index_of_shards(value: object, parts: dict[str, object]) -> None:
    assert refused_in_one_line(lambda: ShardIndex.parse(json.dumps(value).encode(), "here"), "here")
    record = sealed({"format": FORMAT, "rows_per_block": 1, **parts})
    assert refused_in_one_line(lambda: ShardIndex.parse(json.dumps(record).encode(), "here"), "here")


@quick
@given(st.dictionaries(st.sampled_from(["format", "key", "shape", "images_per_shard", "bytes"]), json_values))
def test_any_json_for_the_meta_data_of_a_cache(changes: dict[str, object]) -> None:
    key, features = CacheKey(layer="a", dtype="float32"), torch.arange(24.0).view(2, 3, 2, 2)
    with tempfile.TemporaryDirectory() as folder:
        meta = fill(folder, key, 2, [features]).path / "meta.json"
        meta.write_text(json.dumps({**json.loads(meta.read_text()), **changes}))

        def read() -> None:
            assert FeatureCache.open(folder, key).features([1]).equal(features[1:])

        refused_in_one_line(read, "meta.json")


@quick
@given(st.binary(max_size=300), st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", b"\x10\0\0\0\0\0\0\0{"]))
def test_any_bytes_for_weights_and_checkpoints(content: bytes, begin: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("x.pth", "x.safetensors"):
            path = Path(folder) / name
            path.write_bytes(begin + content)
            assert refused_in_one_line(lambda path=path: read_weights(str(path)), name)  # type: ignore[misc]
            assert refused_in_one_line(lambda path=path: read_checkpoint(path), name)  # type: ignore[misc]


@quick
@given(json_values, st.text(max_size=60))
def test_any_yaml_for_a_config(value: object, text: str) -> None:
    wanted = {"trainer": {"logger": {"init_args": {"save_dir": ""}}}}
    with tempfile.TemporaryDirectory() as folder:
        wanted["trainer"]["logger"]["init_args"]["save_dir"] = folder
        config = Path(folder) / "version_0" / "config.yaml"
        (config.parent / "checkpoints").mkdir(parents=True)
        (config.parent / "checkpoints" / "last.ckpt").write_bytes(b"no checkpoint")
        for content in (yaml.safe_dump({"data": value, "trainer": value}), text):
            config.write_text(content, encoding="utf-8", errors="replace")
            refused_in_one_line(lambda: check_configs(["--config", str(config)]), "config.yaml")
            assert run_to_resume(wanted) is None
