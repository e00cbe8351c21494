"""The feature cache: exact round trips, refusals by name, nothing half written, cheap to send to workers."""

import json
import multiprocessing
import pickle
import re
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from uibe.data.cache import CacheKey, FeatureCache, fill
from uibe.data.indices import checked_indices, pixel_indices
from uibe.data.pixels import PixelBatchSampler, PixelDataset, RowBatchSampler
from uibe.errors import ConfigError, DataError, MismatchError

PARTS = {
    "weights_sha256": "5c10",
    "layer": "features.7",
    "preprocessing": "112",
    "images": "a1",
    "dtype": "float32",
}
KEY = CacheKey(**PARTS)
HALF = CacheKey(**{**PARTS, "dtype": "float16"})
BRAIN = CacheKey(**{**PARTS, "dtype": "bfloat16"})
SHAPE = (7, 5, 3, 2)  # (N, D, H, W)


@pytest.fixture
def features() -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def cache(tmp_path: Path, features: Tensor) -> FeatureCache:
    return fill(tmp_path, KEY, len(features), features.split(3))


def test_round_trip_is_exact_in_float32(cache: FeatureCache, features: Tensor) -> None:
    rows = [6, 0, 0, 3]
    read = cache.features(rows)
    assert read.equal(features[rows])
    assert read.dtype == torch.float32
    assert read.is_contiguous(memory_format=torch.channels_last)
    flat = features.permute(0, 2, 3, 1).reshape(-1, 5)
    indices = torch.tensor([41, 0, 17])
    assert cache.pixels(indices).equal(flat[indices])


def test_properties(cache: FeatureCache, tmp_path: Path) -> None:
    assert (cache.num_images, cache.num_features, cache.feature_size) == (7, 5, (3, 2))
    assert (cache.dtype, cache.path) == ("float32", tmp_path / KEY.digest)
    assert "(7, 3, 2, 5)" in repr(cache)


def test_array_is_pixel_major_and_readable_by_numpy(cache: FeatureCache, features: Tensor) -> None:
    stored = np.load(cache.path / "features-00000.npy")
    np.testing.assert_array_equal(stored, features.permute(0, 2, 3, 1).numpy())


def test_float16_error_is_bounded(tmp_path: Path, features: Tensor) -> None:
    cache = fill(tmp_path, HALF, len(features), [features * 100], dtype="float16")
    read = cache.features(range(7))
    assert read.dtype == torch.float32
    assert cache.path.joinpath("features-00000.npy").stat().st_size < features.numel() * 2 + 256
    torch.testing.assert_close(read, features * 100, rtol=2**-11, atol=2**-25)


def test_bfloat16_error_is_bounded_over_the_whole_range(tmp_path: Path, features: Tensor) -> None:
    features *= 10 ** torch.linspace(-30, 30, 5)[:, None, None]
    cache = fill(tmp_path, BRAIN, len(features), [features], dtype="bfloat16")
    read = cache.features(range(7))
    torch.testing.assert_close(read, features, rtol=2**-8, atol=0)
    assert cache.path.joinpath("features-00000.npy").stat().st_size < features.numel() * 2 + 256
    assert cache.pixels(range(42)).equal(read.permute(0, 2, 3, 1).reshape(-1, 5))
    assert FeatureCache.open(tmp_path, BRAIN).dtype == "bfloat16"


def test_bfloat16_is_kept_as_bits_that_numpy_can_read(tmp_path: Path, features: Tensor) -> None:
    cache = fill(tmp_path, BRAIN, len(features), [features])
    stored = np.load(cache.path / "features-00000.npy")
    assert stored.dtype == np.uint16
    widened = (stored.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(widened, cache.features(range(7)).permute(0, 2, 3, 1).numpy())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_batches_of_other_types_and_layouts_are_stored_by_value(tmp_path: Path, dtype: torch.dtype) -> None:
    features = torch.randn(SHAPE).to(dtype).requires_grad_().to(memory_format=torch.channels_last)
    assert fill(tmp_path, KEY, 7, [features]).features(range(7)).equal(features.detach().float())


def test_pixel_indices_select_the_pixels_of_rows(cache: FeatureCache, features: Tensor) -> None:
    indices = pixel_indices(torch.tensor([5, 2]), cache.feature_size)
    assert indices.dtype == torch.int64
    assert cache.pixels(indices).equal(features[[5, 2]].permute(0, 2, 3, 1).reshape(-1, 5))


def test_reading_gives_copies(cache: FeatureCache, features: Tensor) -> None:
    cache.features([0]).zero_()
    cache.pixels([0]).zero_()
    assert cache.features([0]).equal(features[:1])


def test_no_rows_give_an_empty_tensor(cache: FeatureCache) -> None:
    assert cache.features([]).shape == (0, 5, 3, 2)
    assert cache.pixels(torch.empty(0, dtype=torch.int64)).shape == (0, 5)


@pytest.mark.parametrize("index", [-1, 7])
def test_rows_outside_are_refused(cache: FeatureCache, index: int) -> None:
    with pytest.raises(MismatchError, match=rf"image row {index} is outside \[0, 7\)"):
        cache.features([0, index])


@pytest.mark.parametrize("indices", [[0.5], torch.ones(3, dtype=torch.bool), torch.tensor(1), [[1]]])
def test_what_is_no_list_of_integers_is_refused(indices: object) -> None:
    with pytest.raises(TypeError, match="row: expected a 1-D list of integers"):
        checked_indices(indices, 9, "row")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PARTS)
def test_each_part_changes_the_digest_and_is_named(cache: FeatureCache, tmp_path: Path, name: str) -> None:
    other = CacheKey(**{**PARTS, name: "float16" if name == "dtype" else "other"})
    assert other.digest != KEY.digest
    assert not FeatureCache.exists(tmp_path, other)
    with pytest.raises(
        MismatchError, match=f"closest was filled with {name}='{PARTS[name]}' instead of '{other[name]}'"
    ):
        FeatureCache.open(tmp_path, other)
    cache.path.rename(tmp_path / other.digest)
    with pytest.raises(MismatchError, match=f"filled with {name}='{PARTS[name]}' instead of '{other[name]}'"):
        FeatureCache.open(tmp_path, other)


def test_key_is_a_mapping_whose_order_does_not_matter() -> None:
    turned = CacheKey(**dict(reversed(PARTS.items())))
    assert turned == KEY
    assert hash(turned) == hash(KEY)
    assert dict(pickle.loads(pickle.dumps(KEY))) == PARTS  # noqa: S301
    assert "layer='features.7'" in repr(KEY)


@pytest.mark.parametrize("parts", [{}, {"dtype": "float64"}, {"dtype": "float32", "layer": ""}])
def test_unusable_keys_are_refused(parts: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="cache key part"):
        CacheKey(**parts)


def test_contradicting_dtype_is_refused(tmp_path: Path, features: Tensor) -> None:
    with pytest.raises(ConfigError, match="contradicts the cache key"):
        fill(tmp_path, KEY, 7, [features], dtype="float16")


@pytest.mark.parametrize("existing", [True, False])
def test_empty_directory_says_to_fill_first(tmp_path: Path, existing: bool) -> None:
    directory = tmp_path if existing else tmp_path / "absent"
    assert not FeatureCache.exists(directory, KEY)
    with pytest.raises(MismatchError, match="holds no feature cache: fill it first"):
        FeatureCache.open(directory, KEY)


def test_truncated_array_is_refused(cache: FeatureCache, tmp_path: Path) -> None:
    array = cache.path / "features-00000.npy"
    array.write_bytes(array.read_bytes()[:-1])
    with pytest.raises(
        MismatchError,
        match=r"features-00000\.npy: \d+ bytes, meta.json says \d+; delete the folder and rerun",
    ):
        FeatureCache.open(tmp_path, KEY)
    array.unlink()
    with pytest.raises(MismatchError, match=r"features-00000\.npy: 0 bytes"):
        FeatureCache.open(tmp_path, KEY)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b"\xff", b"7", b'{"format": 1, "key": 3}', None]
)
def test_corrupt_meta_is_refused(cache: FeatureCache, tmp_path: Path, content: bytes | None) -> None:
    meta = cache.path / "meta.json"
    meta.unlink()
    if content is not None:
        meta.write_bytes(content)
    with pytest.raises(MismatchError, match=r"meta\.json: missing or damaged; delete the folder"):
        FeatureCache.open(tmp_path, KEY)


def test_other_format_is_refused(cache: FeatureCache, tmp_path: Path) -> None:
    meta = cache.path / "meta.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "format": 0}))
    with pytest.raises(MismatchError, match="format 0, this code reads 1 to 3"):
        FeatureCache.open(tmp_path, KEY)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_interrupted_fill_leaves_nothing(
    tmp_path: Path, features: Tensor, error: type[BaseException]
) -> None:
    def batches() -> Iterator[Tensor]:
        yield features[:3]
        raise error("stop")

    with pytest.raises(error, match="stop"):  # an OSError of the images is not taken for a full disk
        fill(tmp_path, KEY, 7, batches())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("key", [KEY, HALF, BRAIN], ids=lambda key: str(key["dtype"]))
def test_non_finite_value_is_named(tmp_path: Path, features: Tensor, value: float, key: CacheKey) -> None:
    features[4, 2, 1, 1] = value
    features[5, 0, 0, 0] = value
    with pytest.raises(DataError, match=f"image row 4, channel 2 has the value {value:g}.*check the image"):
        fill(tmp_path, key, 7, features.split(3))
    assert not list(tmp_path.iterdir())


def test_float16_overflow_says_use_float32(tmp_path: Path, features: Tensor) -> None:
    features[3, 1] = 7e4
    with pytest.raises(
        DataError, match=r'image row 3, channel 1 has the value 70000, .* use dtype "float32"'
    ):
        fill(tmp_path, HALF, 7, features.split(3))


def test_bfloat16_overflow_says_use_float32(tmp_path: Path, features: Tensor) -> None:
    features[3, 1] = -3.4e38
    with pytest.raises(DataError, match=r'image row 3, channel 1 has the value -3\.4e\+38, .* "float32"'):
        fill(tmp_path, BRAIN, 7, features.split(3))


@pytest.mark.parametrize(
    ("announced", "message"), [(6, "more than the 6 images"), (8, "7 images came, 8 were")]
)
def test_wrong_number_of_images(tmp_path: Path, features: Tensor, announced: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fill(tmp_path, KEY, announced, features.split(3))
    assert not list(tmp_path.iterdir())


def test_empty_batch_adds_nothing(tmp_path: Path, features: Tensor) -> None:
    cache = fill(tmp_path, KEY, 7, [features[:3], features[:0], features[3:]])
    assert cache.features(range(7)).equal(features)


def test_no_batches(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 images came, 7 were announced"):
        fill(tmp_path, KEY, 7, [])


@pytest.mark.parametrize("shape", [(7, 5), (7, 0, 3, 2)])
def test_batches_of_the_wrong_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=re.escape(f"expected a batch (n, D, H, W), got {shape}")):
        fill(tmp_path, KEY, 7, [torch.zeros(shape)])


def test_images_of_unequal_size(tmp_path: Path, features: Tensor) -> None:
    with pytest.raises(DataError, match=re.escape("a batch is (3, 5, 2, 2)")):
        fill(tmp_path, KEY, 7, [features[:4], features[4:, :, :2]])


def test_lack_of_space_is_seen_before_writing(
    tmp_path: Path, features: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 10, 90))
    with pytest.raises(DataError, match=f"{re.escape(str(tmp_path))}: 840 bytes needed, 90 free"):
        fill(tmp_path, KEY, 7, [features])
    assert not list(tmp_path.iterdir())


def test_failing_write_is_a_data_error(tmp_path: Path, features: Tensor) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (500, hard)
    )  # no file may grow beyond: the write is cut, then fails
    try:
        with pytest.raises(
            DataError, match=r"cannot be written \(840 bytes needed\): File too large; free space"
        ):
            fill(tmp_path, KEY, 7, [features])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_directory_that_cannot_be_made(tmp_path: Path, features: Tensor) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written: Not a directory"):
        fill(tmp_path / "file", KEY, 7, [features])


def test_finished_cache_is_kept(cache: FeatureCache, tmp_path: Path, features: Tensor) -> None:
    def untouched() -> Iterator[Tensor]:
        raise AssertionError("the batches of a finished cache must not be computed")
        yield

    assert fill(tmp_path, KEY, 7, untouched()).features(range(7)).equal(features)
    with pytest.raises(MismatchError, match="holds 7 images, expected 8"):
        fill(tmp_path, KEY, 8, untouched())


def _fill_together(directory: Path, barrier: "multiprocessing.synchronize.Barrier") -> None:
    def batches() -> Iterator[Tensor]:
        for batch in torch.arange(210.0).view(SHAPE).split(3):
            barrier.wait(timeout=30)  # both are inside before either can finish
            yield batch

    fill(directory, KEY, 7, batches())


def test_two_processes_fill_the_same_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    processes = [context.Process(target=_fill_together, args=(tmp_path, barrier)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert [path.name for path in tmp_path.iterdir()] == [KEY.digest]
    assert FeatureCache.open(tmp_path, KEY).features(range(7)).equal(torch.arange(210.0).view(SHAPE))


def test_pickle_is_small_even_after_reading(tmp_path: Path) -> None:
    cache = fill(tmp_path, KEY, 64, [torch.ones(64, 32, 8, 8)])
    cache.features([0])
    data = pickle.dumps(cache)
    assert len(data) < 10_000
    assert pickle.loads(data).features([3]).equal(torch.ones(1, 32, 8, 8))  # noqa: S301


def test_worker_processes_read_the_same(cache: FeatureCache, features: Tensor) -> None:
    pixels = PixelDataset(cache, rows=[1, 2, 5])
    sampler = PixelBatchSampler(len(pixels), batch_size=4)
    assert cache.pixels([0]).shape == (1, 5)  # the map is open in the parent too
    alone = list(DataLoader(pixels, batch_size=None, sampler=sampler))
    workers = list(DataLoader(pixels, batch_size=None, sampler=sampler, num_workers=2))
    assert len(alone) == 4
    assert torch.stack(workers).equal(torch.stack(alone))


def test_rows_in_batches_read_all_images(cache: FeatureCache, features: Tensor) -> None:
    batches = [cache.features(rows) for rows in RowBatchSampler(range(7), 3)]
    assert torch.cat(batches).equal(features)
