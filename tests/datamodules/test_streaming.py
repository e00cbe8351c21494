"""Training and scoring from shards over HTTP give what the folder gives."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from datamodules import BrodenDataModule, FeatureDataModule, StreamingBrodenDataModule
from tests.loopback import Loopback, serve
from tests.running import Run, broden, finished, quick, run_evaluate, run_train, same_tensors
from uibe.data.convert import convert
from uibe.data.synthetic import render
from uibe.errors import ConfigError
from uibe.functional.detectors import Detectors
from uibe.metrics.tallies import tally_split
from uibe.modules.backbone import Backbone

SMALL_CNN = "uibe.modules.small_cnn:small_cnn"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp("set") / "s", num_train=24, num_val=12, image_size=48, mask_size=24)


@pytest.fixture(scope="module")
def shards(folder: Path) -> Path:
    return convert(folder, folder.parent / "shards", shard_megabytes=0.05, block_bytes=20_000)


@pytest.fixture
def server(shards: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """A server that fails every third time, and no pauses before the next attempt."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    kinds = itertools.cycle(
        ["503", None, None, "cut", None, None, "corrupt", None, None, "short", None, None]
    )
    with serve(shards) as running:
        running.decide = lambda name, wanted: next(kinds)
        yield running


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return Backbone(SMALL_CNN, "package:uibe.assets", "features.4", image_size=48)


@pytest.fixture(scope="module")
def from_folder(folder: Path) -> Run:
    runs = folder.parent / "runs"
    outcome = run_train(*broden(folder, folder.parent / "cache"), *quick(runs))
    return finished(outcome, runs)


def streaming(root: str, cache: Path) -> list[str]:
    """Options of shards."""
    place = ["--data.root", root, "--data.cache_dir", str(cache)]
    return ["--data", "datamodules.StreamingBrodenDataModule", *place]


def test_training_over_http_is_bit_identical(server: Loopback, from_folder: Run, tmp_path: Path) -> None:
    run = finished(run_train(*streaming(server.url, tmp_path / "cache"), *quick(tmp_path)), tmp_path)
    assert same_tensors(run.state, from_folder.state)
    assert run.dissection["history"] == from_folder.dissection["history"]
    assert len(server.requests) > 20


def metrics(run: Run, out: Path, *options: str | Path) -> dict[str, object]:
    """What `evaluate.py score` writes."""
    outcome = run_evaluate("score", "--ckpt_path", run.path, "--out", out, *options)
    assert outcome.code == 0, outcome.err
    content: dict[str, object] = json.loads((out / "metrics.json").read_text())
    return content


def test_scores_are_the_same_wherever_they_are_trained_and_taken(
    server: Loopback, folder: Path, from_folder: Run, tmp_path: Path
) -> None:
    expected = metrics(from_folder, tmp_path / "0")
    trained = finished(run_train(*streaming(server.url, tmp_path / "cache"), *quick(tmp_path)), tmp_path)
    assert metrics(trained, tmp_path / "1") == expected
    own, other = ["--data.cache_dir", tmp_path / "a"], ["--data.cache_dir", tmp_path / "b"]
    assert metrics(from_folder, tmp_path / "2", "--data.root", server.url, *own) == expected
    assert metrics(trained, tmp_path / "3", "--data.root", folder, *other) == expected


def test_features_share_the_cache_of_the_folder(
    backbone: Backbone, folder: Path, server: Loopback, tmp_path: Path
) -> None:
    stores = [
        cls(root, cache_dir=str(tmp_path)).open(backbone)
        for cls, root in ((BrodenDataModule, str(folder)), (StreamingBrodenDataModule, server.url))
    ]
    assert len(list(tmp_path.iterdir())) == 1
    assert not [name for name, _ in server.gets() if name.endswith(".tar")]
    assert torch.equal(*(torch.cat(list(store.feature_batches("val"))) for store in stores))


def test_same_tally_count_for_count(
    backbone: Backbone, folder: Path, server: Loopback, tmp_path: Path
) -> None:
    modules: list[FeatureDataModule] = [
        BrodenDataModule(str(folder), cache_dir=str(tmp_path / "folder"), batch_size=5),
        StreamingBrodenDataModule(server.url, cache_dir=str(tmp_path / "shards"), batch_size=5),
    ]
    detectors = Detectors(torch.eye(64), torch.full((64,), 0.1))
    for split in ("train", "val"):
        expected, found = (
            tally_split({"": detectors}, module.open(backbone), split)[""].counts() for module in modules
        )
        assert all(torch.equal(left, right) for left, right in zip(expected, found, strict=True))
        assert found.intersections.count_nonzero() > 100


@pytest.mark.parametrize("workers", [0, 2])
def test_images_without_a_feature_cache_are_those_of_the_folder(
    backbone: Backbone, server: Loopback, folder: Path, workers: int
) -> None:
    options = {"cache": False, "pixels_per_batch": 5 * 36}
    modules: list[FeatureDataModule] = [
        BrodenDataModule(str(folder), **options),
        StreamingBrodenDataModule(server.url, num_workers=workers, **options),
    ]
    for module in modules:
        module.open(backbone)
    expected, found = (torch.cat(list(module.train_dataloader())) for module in modules)
    assert len(found) == 20  # 4 batches of 5; the rest of an epoch is dropped
    assert torch.equal(found, expected)


def test_images_without_a_feature_cache_are_shuffled_in_blocks(backbone: Backbone, server: Loopback) -> None:
    server.decide = lambda name, wanted: None
    streamed = StreamingBrodenDataModule(server.url, cache=False, pixels_per_batch=4 * 36)
    source = streamed.open(backbone).images.index.source  # type: ignore[union-attr]
    source._num_blocks = source._cache._num_blocks = 2  # type: ignore[attr-defined]
    assert sum(len(batch) for batch in streamed.train_dataloader()) == 24
    blocks = {(name, wanted): n for (name, wanted), n in server.gets().items() if name.startswith("train")}
    assert len(blocks) > 2
    assert set(blocks.values()) == {1}


def test_lost_server_ends_training_with_one_line(server: Loopback, tmp_path: Path) -> None:
    server.always["train-00000.tar"] = "500"
    options = [*streaming(server.url, tmp_path / "cache"), "--data.retries", "2"]
    outcome = run_train(*options, *quick(tmp_path))
    assert outcome.code == 1
    (line,) = [line for line in outcome.err.splitlines() if "error" in line]
    assert line.startswith(f"error: {server.url}/train-00000.tar: bytes ")
    assert "3 attempts (500" in line


@pytest.mark.parametrize("option", [{"retries": -1}, {"cache_megabytes": 0}, {"batch_size": 0}])
def test_numbers_out_of_range_are_refused(option: dict[str, int]) -> None:
    (name,) = option
    with pytest.raises(ConfigError, match=f"data.{name}: expected at least"):
        StreamingBrodenDataModule("anywhere", **option)


def test_groups_are_those_of_the_folder(
    folder: Path, shards: Path, backbone: Backbone, tmp_path: Path
) -> None:
    options = {"cache_dir": str(tmp_path), "group_by": r"(\d)\.jpg$"}
    stores = [
        module(root=str(root), **options).open(backbone)
        for module, root in ((BrodenDataModule, folder), (StreamingBrodenDataModule, shards))
    ]
    one, other = (each.groups("val") for each in stores)
    assert one.tolist() == [*range(10), 0, 1]
    assert torch.equal(one, other)
    assert stores[0].grouping == stores[1].grouping
