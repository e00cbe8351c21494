"""Filling a cache: the features of the plain way, in order, with a bounded number of images ahead."""

from pathlib import Path

import pytest
import torch

from tests.data.groups import together
from uibe.data.broden import BrodenDataset
from uibe.data.cache import FeatureCache
from uibe.data.extraction import cache_key, extract, fill_cache
from uibe.data.index import BrodenIndex
from uibe.errors import DataError
from uibe.modules.backbone import Backbone


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    """The default network at its default layer."""
    return Backbone("uibe.modules.small_cnn:small_cnn", "package:uibe.assets", "features.4", image_size=48)


@pytest.fixture
def images(broden_root: Path) -> BrodenDataset:
    return BrodenDataset(BrodenIndex.read(broden_root))


def filled(folder: Path, images: BrodenDataset, backbone: Backbone, **options: int) -> FeatureCache:
    key = cache_key(backbone, backbone.layer, "images", "float32")
    return fill_cache(folder, key, images, backbone, **{"batch_size": 3, **options})


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_features_are_those_of_one_image_at_a_time(
    images: BrodenDataset, backbone: Backbone, tmp_path: Path, threads: int
) -> None:
    found = filled(tmp_path, images, backbone, threads=threads).features(range(4))
    for i, features in enumerate(found):
        expected = backbone.features(backbone.preprocessing(images.image(i))[None])[0]
        torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)


def test_threads_do_not_change_a_bit(images: BrodenDataset, backbone: Backbone, tmp_path: Path) -> None:
    one, many = (filled(tmp_path / str(k), images, backbone, threads=k) for k in (1, 5))
    assert one.features(range(4)).equal(many.features(range(4)))


@pytest.mark.parametrize(("batch_size", "sizes"), [(64, [3, 1]), (2, [2, 2])])
def test_a_cpu_runs_few_images_at_once(
    images: BrodenDataset,
    backbone: Backbone,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    batch_size: int,
    sizes: list[int],
) -> None:
    found: list[int] = []
    run = Backbone.features

    def note(self: Backbone, batch: torch.Tensor) -> torch.Tensor:
        found.append(len(batch))
        return run(self, batch)

    monkeypatch.setattr(Backbone, "features", note)
    monkeypatch.setattr("uibe.data.extraction.CPU_BATCH", 3)
    filled(tmp_path, images, backbone, batch_size=batch_size)
    assert found == sizes


def test_inference_mode_stays_inside(images: BrodenDataset, backbone: Backbone) -> None:
    for features in extract(images, backbone, batch_size=2):
        assert features.is_inference()
        assert not torch.is_inference_mode_enabled()
        assert torch.is_grad_enabled()


def test_damaged_image_is_named_and_nothing_half_is_left(
    images: BrodenDataset, backbone: Backbone, tmp_path: Path, broden_root: Path
) -> None:
    (broden_root / "images/b/2.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"2\.jpg .*line 4.*: cannot be decoded"):
        filled(tmp_path / "cache", images, backbone, images_per_shard=2)
    (partial,) = (tmp_path / "cache").iterdir()
    assert partial.name.endswith(".partial")
    assert sorted(path.name for path in partial.iterdir()) == ["features-00000.npy", "meta.json"]


def test_batches_end_where_parts_do(images: BrodenDataset, backbone: Backbone) -> None:
    batches = list(extract(images, backbone, 2, parts=[range(3), range(3, 4)]))
    assert [len(batch) for batch in batches] == [2, 1, 1]
    expected = [*extract(images, backbone, 2, parts=[range(1, 3)]), *extract(images, backbone, 1)]
    torch.testing.assert_close(torch.cat(batches), torch.cat(expected[1:]))
    torch.testing.assert_close(torch.cat(batches)[1:3], expected[0])


def test_processes_do_not_change_a_bit(images: BrodenDataset, backbone: Backbone, tmp_path: Path) -> None:
    def job() -> None:
        filled(tmp_path / "many", images, backbone, images_per_shard=1)

    assert together(2, tmp_path / "store", job) == [0, 0]
    one = filled(tmp_path / "one", images, backbone, images_per_shard=1)
    files = sorted(path.name for path in one.path.iterdir())
    assert len(files) == 5
    for name in files:
        assert (tmp_path / "many" / one.path.name / name).read_bytes() == (one.path / name).read_bytes()


def test_key_tells_memory_formats_apart(backbone: Backbone) -> None:
    key = cache_key(backbone, "features.4", "images", "float16")
    assert key["memory_format"] == "channels_last"
    assert key["dtype"] == "float16"
