"""Training and scoring from shards over HTTP give what the folder gives."""

import itertools
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
from uibe.functional.detectors import hard_responses
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
    kinds = itertools.cycle(["503", None, None, "cut", None, None, "corrupt", None, None, "short", None, None])
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
    return ["--data", "datamodules.StreamingBrodenDataModule", "--data.root", root, "--data.cache_dir", str(cache)]


def test_training_over_http_is_bit_identical(server: Loopback, from_folder: Run, tmp_path: Path) -> None:
    run = finished(run_train(*streaming(server.url, tmp_path / "cache"), *quick(tmp_path)), tmp_path)
    assert same_tensors(run.state, from_folder.state)
    assert run.dissection["history"] == from_folder.dissection["history"]
    assert len(server.requests) > 20


def test_checkpoint_is_scored_where_it_was_trained(server: Loopback, from_folder: Run, tmp_path: Path) -> None:
    trained = finished(run_train(*streaming(server.url, tmp_path / "cache"), *quick(tmp_path)), tmp_path)
    own = run_evaluate("score", "--ckpt_path", trained.path)
    expected = run_evaluate("score", "--ckpt_path", from_folder.path)
    assert (own.code, expected.code) == (0, 0), own.err + expected.err
    assert own.out.splitlines()[-5:] == expected.out.splitlines()[-5:]


def test_checkpoint_is_scored_elsewhere(
    server: Loopback, folder: Path, from_folder: Run, tmp_path: Path
) -> None:
    trained = finished(run_train(*streaming(server.url, tmp_path / "cache"), *quick(tmp_path)), tmp_path)
    outcomes = [
        run_evaluate("score", "--ckpt_path", path, "--data.root", root, "--data.cache_dir", cache)
        for path, root, cache in (
            (from_folder.path, server.url, tmp_path / "cache"),
            (trained.path, str(folder), folder.parent / "cache"),
        )
    ]
    assert [outcome.code for outcome in outcomes] == [0, 0], [outcome.err for outcome in outcomes]
    assert outcomes[0].out.splitlines()[-5:] == outcomes[1].out.splitlines()[-5:]


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
    options = {"cache_dir": str(tmp_path), "batch_size": 5}
    modules: list[FeatureDataModule] = [
        BrodenDataModule(str(folder), **options),
        StreamingBrodenDataModule(server.url, cache_megabytes=1, **options),
    ]
    for split in ("train", "val"):
        counts = [tally(module.open(backbone).labelled_batches(split)) for module in modules]
        assert torch.equal(counts[0], counts[1])
        assert counts[0].count_nonzero() > 100


def test_images_without_a_cache_are_shuffled_in_blocks(
    backbone: Backbone, server: Loopback, folder: Path, tmp_path: Path
) -> None:
    options = {"cache": False, "pixels_per_batch": 5 * 36}
    streamed = StreamingBrodenDataModule(server.url, num_workers=2, **options)
    plain = BrodenDataModule(str(folder), **options)
    for module in (streamed, plain):
        module.open(backbone)
    found, expected = (torch.cat(list(module.train_dataloader())) for module in (streamed, plain))
    assert len(found) == len(expected) == 20  # 4 batches of 5; the rest of an epoch is dropped
    whole = torch.stack([plain.features.images[row]["image"] for row in plain.features.rows("train")])
    matches = (found.flatten(1)[:, None] == whole.flatten(1)[None]).all(2)
    assert matches.sum(1).tolist() == [1] * 20
    assert matches.sum(0).max() == 1


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
