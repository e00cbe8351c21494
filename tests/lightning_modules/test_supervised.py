"""The supervised basis: what it learns from, what it finds, and its way through the command lines."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningDataModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_modules import BasisModule, SupervisedModule
from lightning_modules.checkpoint import basis_from, module_from
from tests.metrics.fakes import FakeConcepts, FakeFeatures, Split
from tests.running import (
    Bench,
    Outcome,
    Run,
    finished,
    quick,
    run_evaluate,
    run_train,
    same_tensors,
    synthetic,
)
from uibe.data.broden import ImageLabels
from uibe.errors import ConfigError, MismatchError
from uibe.functional.pixel_labels import pixel_signs
from uibe.metrics.binary import binary_metrics
from uibe.metrics.dissection import dissect
from uibe.metrics.labelled_pixels import gather_pixels, image_frequencies
from uibe.modules.basis import InterpretableBasis
from uibe.modules.linear_detectors import LinearDetectors

SUPERVISED = ["--model", "lightning_modules.SupervisedModule"]
SIZE = (6, 6)
# `rare` is in two train images, `always` has no negatives, `never` no positives
CONCEPTS = FakeConcepts(
    ["sky", "grass", "dots", "rare", "always", "never"],
    torch.tensor([0, 0, 1, 0, 2, 1]),
    ["object", "texture", "scene"],
)


def planted_split(images: int, seed: int) -> Split:
    """Pixels of 64 channels, to which each concept adds a direction; textures in two images of three."""
    directions = torch.linalg.qr(torch.randn(64, 6, generator=torch.Generator().manual_seed(0)))[0].T
    generator = torch.Generator().manual_seed(seed)
    scale = torch.linspace(0.1, 3, 64)
    features, labels = [], []
    for image in range(images):
        codes = [0, 1, 2, *([4] if image < 2 else [])]
        plane = torch.tensor(codes)[torch.randint(0, len(codes), SIZE, generator=generator)]
        textured = image % 3 != 0
        dots = torch.rand(SIZE, generator=generator) < 0.2
        planes = torch.stack([plane, torch.where(dots & textured, 3, 0)])
        pixels = 0.3 * torch.randn(*SIZE, 64, generator=generator)
        for code in (1, 2, 4):
            pixels += 6 * (plane == code)[..., None] * directions[code - 1]
        pixels += 6 * dots[..., None] * directions[2]  # there too where nobody labelled it
        features.append((pixels * scale + 5).permute(2, 0, 1))
        present = torch.tensor(sorted({*planes[planes > 0].sub(1).tolist(), 4}))
        annotated = torch.tensor([True, textured, True])
        labels.append(ImageLabels(planes, torch.tensor([4]), annotated, present))
    return Split(torch.stack(features), labels)


class PlantedData(LightningDataModule):
    """The planted features as a data module, as far as the module asks."""

    fingerprint = "planted"

    def __init__(self) -> None:
        super().__init__()
        self.features = FakeFeatures(CONCEPTS, planted_split(30, 1), planted_split(15, 2), batch_size=7)

    def train_dataloader(self) -> DataLoader[Tensor]:
        pixels: Any = [torch.zeros(200, 64)] * 30  # what they are is no matter
        return DataLoader(pixels, batch_size=None)


def learn(data: PlantedData, **options: Any) -> SupervisedModule:  # noqa: ANN401
    module = SupervisedModule(image_size=48, **options)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=4,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=data)
    return module


@pytest.fixture(scope="module")
def planted() -> tuple[SupervisedModule, PlantedData]:
    data = PlantedData()
    return learn(data, min_frequency=3), data


def test_separable_concepts_are_found(planted: tuple[SupervisedModule, PlantedData]) -> None:
    module, data = planted
    detectors = module.basis.detectors()
    scores = binary_metrics(detectors, module.basis.concepts, data.features)
    assert scores.iou.min() > 0.97
    assert scores.average_precision.min() > 0.99
    dissection = dissect({"own": detectors}, data.features)["own"]
    assert torch.equal(dissection.labels, module.basis.concepts)
    assert dissection.scores().interpretable == dissection.scores().unique == 3


@pytest.mark.parametrize("standardization", ["none", "whiten"])
def test_other_standardizations_find_them_too(standardization: str) -> None:
    data = PlantedData()
    module = learn(data, min_frequency=3, standardization=standardization, lr=0.03)
    scores = binary_metrics(module.basis.detectors(), module.basis.concepts, data.features)
    assert scores.average_precision.min() > 0.97
    assert scores.iou.min() > 0.8


def test_weight_decay_shrinks_weights_but_not_the_answer(
    planted: tuple[SupervisedModule, PlantedData],
) -> None:
    module = learn(planted[1], min_frequency=3, weight_decay=0.1)
    assert module.basis.weights.norm() < planted[0].basis.weights.norm()
    scores = binary_metrics(module.basis.detectors(), module.basis.concepts, planted[1].features)
    assert scores.average_precision.min() > 0.97


def test_directions_have_unit_norm_and_fire_where_the_logits_are_positive(
    planted: tuple[SupervisedModule, PlantedData],
) -> None:
    module, data = planted
    directions, thresholds = module.basis.detectors()
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(3))
    pixels = data.features.splits["val"].features.permute(0, 2, 3, 1).flatten(0, 2)
    assert torch.equal(pixels @ directions.T > thresholds, module.basis(pixels) > 0)


def test_rare_concepts_and_those_without_negatives_get_no_detector(
    planted: tuple[SupervisedModule, PlantedData],
) -> None:
    module, data = planted
    positive, negative = image_frequencies(data.features)
    assert positive.tolist()[3:] == [2, 30, 0]
    assert negative.tolist() == [30, 30, 20, 30, 0, 20]
    assert module.basis.names == ("sky", "grass", "dots")
    assert learn(data, min_frequency=2).basis.names == ("sky", "grass", "dots", "rare")


def test_frequencies_count_images(planted: tuple[SupervisedModule, PlantedData]) -> None:
    features, labels = planted[1].features.splits["train"]
    every = torch.arange(6)
    signs = torch.stack([pixel_signs([each], SIZE, CONCEPTS.category, every) for each in labels])
    found = image_frequencies(planted[1].features)
    assert torch.equal(found[0], (signs == 1).any(1).sum(0))
    assert torch.equal(found[1], (signs == 0).any(1).sum(0))
    assert len(features) == len(labels)


@pytest.mark.parametrize("per_positive", [1, 3, 20])
def test_each_epoch_learns_from_positives_and_few_negatives(per_positive: int) -> None:
    module = learn(PlantedData(), negatives_per_positive=per_positive, min_frequency=2)
    signs, chosen = module.pool.signs, module.chosen
    assert chosen[signs == 1].all()
    assert not chosen[signs == -1].any()
    positives, negatives = (signs == 1).sum(0), (chosen & (signs == 0)).sum(0)
    assert torch.equal(negatives, torch.minimum(per_positive * positives, (signs == 0).sum(0)))
    assert (negatives < (signs == 0).sum(0)).any()


def test_hard_negatives_follow_the_detectors() -> None:
    module = learn(PlantedData(), negatives_per_positive=1, hard_negatives=1.0, candidates=1e6)
    with torch.no_grad():
        module.on_train_epoch_start()
        scores = module.basis(module.pool.pixels)
    for score, signs, chosen in zip(scores.T, module.pool.signs.T, module.chosen.T, strict=True):
        negatives = signs == 0
        assert score[negatives & chosen].min() >= score[negatives & ~chosen].max() - 1e-4


def test_pixels_beyond_the_memory_are_drawn_at_random(planted: tuple[SupervisedModule, PlantedData]) -> None:
    data, concepts = planted[1].features, torch.tensor([0, 2])
    every = gather_pixels(data, concepts, 10**6, seed=0)
    assert len(every.pixels) == data.num_pixels("train")
    few, again, other = (gather_pixels(data, concepts, 100, seed) for seed in (0, 0, 1))
    assert torch.equal(few.pixels, again.pixels)
    assert not torch.equal(few.pixels, other.pixels)
    where = (every.pixels[:, None, 0] == few.pixels[None, :, 0]).float().argmax(0)
    assert len(few.pixels) == 100 == len(where.unique())
    assert torch.equal(every.pixels[where], few.pixels)
    assert torch.equal(every.signs[where], few.signs)


def test_images_set_the_number_of_pixels_of_a_step(planted: tuple[SupervisedModule, PlantedData]) -> None:
    module = planted[0]
    module.on_train_epoch_start()
    loss = module.training_step(torch.zeros(2, 3, 48, 48), 0)
    assert module.used == 2 * 36
    assert float(module.step_means.compute()["loss/total"]) == pytest.approx(loss.item(), rel=1e-6)
    torch.autograd.backward(loss)
    for parameter in module.basis.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0
    module.zero_grad()


def fit(bench: Bench, runs: Path, *extra: str | Path) -> Run:
    """Learn on the shared rendered set."""
    given = [
        *SUPERVISED,
        *synthetic(bench.root, bench.cache),
        *quick(runs),
        "--data.passes_per_epoch",
        "20",
        "--model.lr",
        "0.1",
    ]
    return finished(run_train(*given, *extra), runs)


@pytest.fixture(scope="module")
def supervised(bench: Bench, trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return fit(bench, tmp_path_factory.mktemp("supervised"), "--model.min_frequency", "3")


def test_score_gives_the_digits_of_training(supervised: Run, tmp_path: Path) -> None:
    last = supervised.dissection["history"][-1]
    done = run_evaluate("score", "--ckpt_path", supervised.path, "--out", tmp_path)
    assert done.code == 0, done.err
    metrics = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    first = next(name for name in last if name != "epoch")
    assert metrics["S1"] == last[first]["S1"] > 0
    assert metrics["S2"] == last[first]["S2"] > 0


def test_supervision_beats_the_natural_basis(supervised: Run) -> None:
    last = supervised.dissection["history"][-1]
    assert last["learned"]["S2"] > last["natural"]["S2"]


def test_checkpoint_is_small_plain_and_knows_its_module(supervised: Run) -> None:
    assert supervised.path.stat().st_size < 300_000
    assert all(name.startswith("basis.") for name in supervised.state)
    recorded = supervised.checkpoint["uibe"]
    assert recorded["module"] == "SupervisedModule"
    assert len(recorded["concepts"]) == len(supervised.state["basis.concepts"])
    module = module_from(supervised.checkpoint)
    assert isinstance(module, SupervisedModule)
    assert same_tensors(module.state_dict(), supervised.state)
    assert list(module.basis.names) == recorded["concepts"]
    for one, other in zip(
        module.basis.detectors(), basis_from(supervised.checkpoint).detectors(), strict=True
    ):
        assert torch.equal(one, other)


def test_lightning_loads_the_checkpoint_by_itself(supervised: Run) -> None:
    module = SupervisedModule.load_from_checkpoint(supervised.path, map_location="cpu")
    assert same_tensors(module.state_dict(), supervised.state)


def test_export_restores_the_detectors(supervised: Run, tmp_path: Path) -> None:
    done = run_evaluate("export", "--ckpt_path", supervised.path, "--out", tmp_path)
    assert done.code == 0, done.err
    path, original = tmp_path / "basis.safetensors", basis_from(supervised.checkpoint)
    assert isinstance(original, LinearDetectors)
    loaded = LinearDetectors.load(path)
    assert same_tensors(loaded.state_dict(), original.state_dict())
    assert loaded.names == original.names
    with pytest.raises(MismatchError, match="expected a basis"):
        InterpretableBasis.load(path)


def test_files_of_something_else_are_refused(trained: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        LinearDetectors.load(tmp_path / "none.safetensors")
    basis_from(trained.checkpoint).save(tmp_path / "basis.safetensors")
    with pytest.raises(MismatchError, match="expected supervised detectors"):
        LinearDetectors.load(tmp_path / "basis.safetensors")


def test_same_seed_gives_the_same_bits_and_another_does_not(
    supervised: Run, bench: Bench, tmp_path: Path
) -> None:
    again = fit(bench, tmp_path / "again", "--model.min_frequency", "3")
    assert same_tensors(supervised.state, again.state)
    other = fit(bench, tmp_path / "other", "--model.min_frequency", "3", "--seed_everything", "1")
    assert not same_tensors(supervised.state, other.state)


def test_resuming_ends_where_an_uninterrupted_run_does(bench: Bench, trained: Run, tmp_path: Path) -> None:
    options = ["--model.lr_schedule", "constant", "--model.negatives_per_positive", "2"]
    whole = fit(bench, tmp_path / "whole", *options, "--trainer.max_epochs", "2")
    first = fit(bench, tmp_path / "first", *options, "--trainer.max_epochs", "1")
    rest = fit(bench, tmp_path / "rest", *options, "--ckpt_path", first.path, "--trainer.max_epochs", "2")
    assert same_tensors(whole.state, rest.state)
    assert not same_tensors(first.state, rest.state)


def test_without_a_cache_the_images_set_the_pace(bench: Bench, trained: Run, tmp_path: Path) -> None:
    run = fit(bench, tmp_path, "--data.cache", "false", "--trainer.max_epochs", "1")
    assert run.dissection["history"][0]["learned"]["S1"] > 0


def test_resuming_needs_no_name_of_the_module(supervised: Run, bench: Bench, tmp_path: Path) -> None:
    given = [*synthetic(bench.root, bench.cache), *quick(tmp_path), "--trainer.max_epochs", "3"]
    run = finished(run_train(*given, "--ckpt_path", supervised.path), tmp_path)
    assert run.checkpoint["uibe"]["module"] == "SupervisedModule"
    assert [entry["epoch"] for entry in run.dissection["history"]] == [0, 1, 2]


def bad_runs() -> Iterator[tuple[list[str], str]]:
    """Options and what is said of them."""
    for name, value in {
        "min_frequency": "0",
        "negatives_per_positive": "0",
        "hard_negatives": "1.5",
        "candidates": "0.5",
        "pixels_megabytes": "0",
        "lr": "0.0",
        "weight_decay": "-1.0",
    }.items():
        yield [f"--model.{name}", value], f"model.{name}: {value} is out of range"
    yield ["--model.min_frequency", "1000"], "no concept has positive pixels in 1000 train images"
    yield ["--trainer.accumulate_grad_batches", "2"], "accumulate_grad_batches: expected 1"


@pytest.mark.parametrize(("options", "said"), list(bad_runs()))
def test_bad_options_are_answered_in_one_line(
    bench: Bench, trained: Run, tmp_path: Path, options: list[str], said: str
) -> None:
    _one_line(run_train(*SUPERVISED, *synthetic(bench.root, bench.cache), *quick(tmp_path), *options), said)


def test_images_without_labels_are_refused(bench: Bench, trained: Run, tmp_path: Path) -> None:
    data = ["--data", "datamodules.ImageFolderDataModule", "--data.root", str(bench.root / "images")]
    outcome = run_train(*SUPERVISED, *data, "--data.cache_dir", bench.cache, *quick(tmp_path))
    _one_line(outcome, "images without labels; give a data set in Broden's format")


def _one_line(outcome: Outcome, said: str) -> None:
    assert outcome.code == 1
    assert said in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


def test_checkpoints_of_other_modules_are_refused(trained: Run, supervised: Run) -> None:
    with pytest.raises(MismatchError, match="not a checkpoint of supervised detectors"):
        SupervisedModule(image_size=48).on_load_checkpoint(trained.checkpoint)
    assert isinstance(module_from(trained.checkpoint), BasisModule)
    unknown = {**supervised.checkpoint, "uibe": {**supervised.checkpoint["uibe"], "module": "Other"}}
    for read in (module_from, basis_from):
        with pytest.raises(MismatchError, match="module 'Other' is unknown"):
            read(unknown)


def test_other_versions_backbones_and_tensors_are_refused(supervised: Run) -> None:
    with pytest.raises(MismatchError, match="format 99 is newer"):
        SupervisedModule(image_size=48).on_load_checkpoint({"uibe": {"format": 99}})
    with pytest.raises(MismatchError, match="weights have sha256"):
        SupervisedModule(image_size=48, weights=None).on_load_checkpoint(supervised.checkpoint)
    with pytest.raises(MismatchError, match=r"do not fit this basis: .*basis\.thresholds"):
        SupervisedModule(image_size=48).load_state_dict(supervised.state)
