"""Wiring: what is opened, how often, and which cache is found."""

import shutil
from pathlib import Path

import pytest
import torch

from datamodules import (
    BrodenDataModule,
    FeatureDataModule,
    ImageFolderDataModule,
    StreamingBrodenDataModule,
    SyntheticDataModule,
)
from tests.running import Bench, Run
from uibe.errors import ConfigError, DataError, MismatchError
from uibe.functional.groups import Grouping
from uibe.modules.backbone import Backbone

SMALL_CNN = "uibe.modules.small_cnn:small_cnn"


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    """The default network at its default layer."""
    return Backbone(SMALL_CNN, "package:uibe.assets", "features.4", image_size=48)


def test_data_is_opened_once(backbone: Backbone, broden_root: Path, tmp_path: Path) -> None:
    data = BrodenDataModule(str(broden_root), cache_dir=str(tmp_path / "cache"))
    store = data.open(backbone)
    shutil.rmtree(broden_root)
    assert data.open(backbone) is store
    assert data.features is store


def test_features_before_opening_are_refused(broden_root: Path) -> None:
    with pytest.raises(RuntimeError, match="open"):
        _ = BrodenDataModule(str(broden_root)).features


def test_cache_is_filled_once(
    backbone: Backbone, broden_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    run = Backbone.features

    def count(self: Backbone, images: torch.Tensor) -> torch.Tensor:
        calls.append(len(images))
        return run(self, images)

    monkeypatch.setattr(Backbone, "features", count)
    for _ in range(2):
        store = BrodenDataModule(str(broden_root), cache_dir=str(tmp_path)).open(backbone)
        assert len(list(store.feature_batches("train"))) == 1
    assert calls == [4]


@pytest.mark.parametrize(
    "other",
    [
        {"layer": "features.3"},
        {"weights": None},
        {"image_size": 64},
        {"mean": [0.5, 0.5, 0.5]},
        {"input_range": [-1.0, 1.0]},
    ],
)
def test_another_backbone_has_another_cache(
    backbone: Backbone, broden_root: Path, tmp_path: Path, other: dict[str, object]
) -> None:
    options = {"weights": "package:uibe.assets", "layer": "features.4", "image_size": 48, **other}
    differing = Backbone(SMALL_CNN, **options)  # type: ignore[arg-type]
    first, second = (_open(broden_root, tmp_path / "cache", net) for net in (backbone, differing))
    assert len(list((tmp_path / "cache").iterdir())) == 2
    assert first.shape != second.shape or not torch.equal(first, second)


def test_other_images_have_another_cache(backbone: Backbone, broden_root: Path, tmp_path: Path) -> None:
    before = _open(broden_root, tmp_path / "cache", backbone)
    shutil.copy(broden_root / "images/b/2.jpg", broden_root / "images/a/0.jpg")
    assert not torch.equal(_open(broden_root, tmp_path / "cache", backbone), before)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_other_labels_share_the_cache(backbone: Backbone, broden_root: Path, tmp_path: Path) -> None:
    for categories in (None, ["object"]):
        data = BrodenDataModule(str(broden_root), categories, cache_dir=str(tmp_path / "cache"))
        data.open(backbone)
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize(("dtype", "error"), [("float16", 2**-11), ("bfloat16", 2**-8)])
def test_half_precision_is_another_cache_of_nearly_the_same(
    backbone: Backbone, broden_root: Path, tmp_path: Path, dtype: str, error: float
) -> None:
    exact, half = (
        _open(broden_root, tmp_path / "cache", backbone, cache_dtype=each) for each in ("float32", dtype)
    )
    assert not torch.equal(exact, half)
    torch.testing.assert_close(half, exact, rtol=error, atol=1e-6)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_cache_and_backbone_agree(backbone: Backbone, broden_root: Path, tmp_path: Path) -> None:
    cached = _open(broden_root, tmp_path, backbone)
    fresh = _open(broden_root, tmp_path, backbone, cache=False, batch_size=1)
    assert torch.allclose(cached, fresh, rtol=1e-4, atol=1e-5)


def test_worker_processes_read_the_same(backbone: Backbone, broden_root: Path, tmp_path: Path) -> None:
    own = _open(broden_root, tmp_path / "own", backbone)
    workers = _open(broden_root, tmp_path / "workers", backbone, num_workers=1)
    assert torch.equal(own, workers)


def test_pixels_of_an_epoch_are_all_pixels(backbone: Backbone, broden_root: Path, tmp_path: Path) -> None:
    sizes = {"pixels_per_batch": 36, "passes_per_epoch": 2}
    data = BrodenDataModule(str(broden_root), cache_dir=str(tmp_path), **sizes)
    store = data.open(backbone)
    pixels = torch.cat(list(data.train_dataloader()))
    whole = torch.cat([each.permute(0, 2, 3, 1).flatten(0, 2) for each in store.feature_batches("train")])
    assert len(pixels) == 2 * len(whole) == 2 * store.num_pixels("train")
    assert torch.equal(pixels.double().sort(0).values, whole.repeat(2, 1).double().sort(0).values)
    assert not torch.equal(pixels[: len(whole)], whole)


def test_split_that_is_not_there_is_named(
    backbone: Backbone, bench: Bench, trained: Run, tmp_path: Path
) -> None:
    data = ImageFolderDataModule(str(bench.root / "images"), cache_dir=str(bench.cache))
    store = data.open(backbone)
    assert not store.has_labels
    with pytest.raises(DataError, match=r"split 'val'.*train"):
        store.rows("val")
    with pytest.raises(DataError, match="without labels"):
        _ = store.concepts


def test_labels_come_with_their_features(backbone: Backbone, broden_root: Path, tmp_path: Path) -> None:
    store = BrodenDataModule(str(broden_root), cache_dir=str(tmp_path), batch_size=1).open(backbone)
    batches = list(store.labelled_batches("val"))
    assert [len(labels) for _, labels in batches] == [1, 1]
    assert torch.equal(
        torch.cat([maps for maps, _ in batches]), torch.cat(list(store.feature_batches("val")))
    )
    assert [labels[0].planes.shape[0] for _, labels in batches] == [0, 1]


def test_synthetic_set_is_rendered_once(tmp_path: Path) -> None:
    sizes = {"num_train": 2, "num_val": 1, "render_size": 32, "mask_size": 16}
    data = SyntheticDataModule(str(tmp_path / "set"), **sizes)
    data.prepare_data()
    before = (tmp_path / "set/index.csv").stat().st_mtime_ns
    data.prepare_data()
    assert (tmp_path / "set/index.csv").stat().st_mtime_ns == before
    with pytest.raises(DataError, match="holds something else"):
        SyntheticDataModule(str(tmp_path / "set"), **{**sizes, "num_val": 2}).prepare_data()


def test_little_memory_gives_the_same_pixels_in_another_order(
    backbone: Backbone, broden_root: Path, tmp_path: Path
) -> None:
    store = BrodenDataModule(str(broden_root), cache_dir=str(tmp_path)).open(backbone)
    whole, piecewise = (
        torch.cat(list(store.training_loader(36, 2, 0, budget))) for budget in (2**20, 36 * 64 * 4)
    )
    assert not store.training_loader(36, 2, 0).pin_memory  # of use to a GPU only
    assert not torch.equal(whole, piecewise)
    assert torch.equal(whole.sort(0).values, piecewise.sort(0).values)


NUMBERS = ["batch_size", "pixels_per_batch", "passes_per_epoch", "shuffle_megabytes"]


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_that_are_not_positive_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"data.{name}: expected at least 1, got 0"):
        BrodenDataModule("anywhere", **{name: 0})


def test_unfinished_cache_is_not_used(backbone: Backbone, broden_root: Path, tmp_path: Path) -> None:
    _open(broden_root, tmp_path / "cache", backbone)
    (folder,) = (tmp_path / "cache").iterdir()
    (folder / "meta.json").unlink()
    with pytest.raises(MismatchError, match=r"meta\.json"):
        _open(broden_root, tmp_path / "cache", backbone)


def test_setup_needs_a_trainer(broden_root: Path) -> None:
    data: FeatureDataModule = BrodenDataModule(str(broden_root))
    with pytest.raises(RuntimeError, match="trainer"):
        data.setup("fit")


def _open(root: Path, directory: Path, backbone: Backbone, **options: object) -> torch.Tensor:
    data = BrodenDataModule(str(root), cache_dir=str(directory), **options)
    return torch.cat(list(data.open(backbone).feature_batches("train")))


def test_groups_are_found_in_paths_and_no_part_of_the_cache(
    backbone: Backbone, broden_root: Path, tmp_path: Path
) -> None:
    options = {"root": str(broden_root), "cache_dir": str(tmp_path / "cache")}
    plain = BrodenDataModule(**options).open(backbone)
    grouped = BrodenDataModule(**options, group_by="^b/([0-2])").open(backbone)
    assert len(list((tmp_path / "cache").glob("[0-9a-f]*"))) == 1
    assert plain.grouping is None
    assert BrodenDataModule(**options, group_by="").open(backbone).grouping is None
    assert grouped.grouping == Grouping("^b/([0-2])", groups=2, single=2, effective=2.0)
    assert [each.groups("val").tolist() for each in (plain, grouped)] == [[0, 1], [0, 1]]
    with pytest.raises(
        DataError, match=r"matches no image of split 'train' of .*index\.csv, such as 'a/0\.jpg'"
    ):
        grouped.groups("train")


@pytest.mark.parametrize("group_by", ["^a/", "^b/"])
def test_groups_that_cannot_be_are_said_before_the_cache_is_filled(
    backbone: Backbone, broden_root: Path, tmp_path: Path, group_by: str
) -> None:
    data = BrodenDataModule(str(broden_root), cache_dir=str(tmp_path / "cache"), group_by=group_by)
    with pytest.raises(DataError, match=r"^data\.group_by: '\^[ab]/' (matches no image|puts all images) of "):
        data.open(backbone)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("module", [BrodenDataModule, SyntheticDataModule, StreamingBrodenDataModule])
def test_what_is_no_expression_is_refused_at_once(module: type[FeatureDataModule], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^data\.group_by: '\(' is no regular expression"):
        module(root=str(tmp_path), group_by="(")  # type: ignore[call-arg] # each has a root
