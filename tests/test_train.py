"""Training from the command line: what it writes, what it repeats, what each option does."""

import csv
import logging
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_modules.checkpoint import basis_from
from tests.data.builders import write_broden
from tests.running import Bench, Run, finished, fit, quick, run_train, same_tensors, synthetic
from uibe.functional.orthogonal import orthogonality_error
from uibe.modules.backbone import Backbone
from uibe.modules.basis import InterpretableBasis


def test_checkpoint_is_small_plain_and_without_the_backbone(trained: Run) -> None:
    assert trained.path.name == "last.ckpt"
    assert trained.path.stat().st_size < 300_000
    assert trained.state
    assert not [name for name in trained.state if not name.startswith("basis.")]
    assert trained.checkpoint["epoch"] == 1


def test_output_has_the_table_and_the_commands_to_go_on_with(trained: Run) -> None:
    out = trained.outcome.out
    assert "S1 and S2 on the validation split, by epoch" in out
    assert f"checkpoint  {trained.path}" in out
    assert f"python evaluate.py score --ckpt_path {trained.path} --out {trained.folder}/score" in out
    for verb in ("report", "explain", "export"):
        assert f"python evaluate.py {verb} --ckpt_path {trained.path} " in out
    assert f"tensorboard --logdir {trained.folder}" in out
    last = trained.dissection["history"][-1]
    assert f"{last['learned']['S1']:.2f}" in out


def test_hyper_parameters_are_plain(trained: Run) -> None:
    for which in ("hyper_parameters", "datamodule_hyper_parameters"):
        plain = str | int | float | bool | list | None
        assert all(isinstance(value, plain) for value in trained.checkpoint[which].values()), which
    assert trained.checkpoint["hyper_parameters"]["layer"] == "features.4"


def test_same_seed_gives_the_same_bits(trained: Run, bench: Bench, tmp_path: Path) -> None:
    assert same_tensors(trained.state, fit(bench, tmp_path).state)


def test_other_seed_gives_other_weights(trained: Run, bench: Bench, tmp_path: Path) -> None:
    other = fit(bench, tmp_path, "--seed_everything", "1")
    assert not same_tensors(trained.state, other.state)
    assert other.checkpoint["hyper_parameters"]["seed"] == 1
    assert other.checkpoint["datamodule_hyper_parameters"]["shuffle_seed"] == 1


def test_saved_config_replays_the_run(trained: Run, tmp_path: Path) -> None:
    config = trained.folder / "config.yaml"
    outcome = run_train("fit", "--config", config, "--trainer.logger.init_args.save_dir", tmp_path)
    assert same_tensors(trained.state, finished(outcome, tmp_path).state)


def test_saved_config_gives_every_option(trained: Run) -> None:
    text = (trained.folder / "config.yaml").read_text(encoding="utf-8")
    for option in ("seed_everything: 0", "layer: features.4", "every_n_epochs: 1", "pixels_per_batch: 512"):
        assert option in text


def test_without_cache_the_backbone_runs_in_each_step(trained: Run, bench: Bench, tmp_path: Path) -> None:
    uncached = fit(bench, tmp_path, "--data.cache", "false", "--data.cache_dir", tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    one, other = (run.dissection["history"][0]["natural"] for run in (trained, uncached))
    assert other["S1"] == pytest.approx(one["S1"], rel=1e-3)
    assert other["S1"] > 0


@pytest.mark.parametrize("rotation_map", ["cayley", "matrix_exp", "householder"])
@pytest.mark.parametrize("start", ["identity", "random", "pca"])
def test_every_rotation_map_and_start_trains(
    bench: Bench, tmp_path: Path, rotation_map: str, start: str
) -> None:
    options = ["--model.rotation_map", rotation_map, "--model.start", start, "--trainer.max_epochs", "1"]
    run = fit(bench, tmp_path, *options)
    assert _loss(run) > 0
    assert run.checkpoint["hyper_parameters"]["start"] == start
    assert run.checkpoint["hyper_parameters"]["rotation_map"] == rotation_map


@pytest.mark.parametrize("standardization", ["none", "whiten"])
def test_every_standardization_trains(bench: Bench, tmp_path: Path, standardization: str) -> None:
    run = fit(bench, tmp_path, "--model.standardization", standardization, "--trainer.max_epochs", "1")
    assert _loss(run) > 0
    assert run.state["basis.standardizer.transform"].ndim == (2 if standardization == "whiten" else 1)


def test_image_folder_trains_undissected_and_says_so(bench: Bench, trained: Run, tmp_path: Path) -> None:
    data = ["--data", "datamodules.ImageFolderDataModule", "--data.root", bench.root / "images"]
    with pytest.warns(UserWarning, match="no labels: the basis is learned, but not dissected"):
        outcome = run_train(*data, "--data.cache_dir", bench.cache, *quick(tmp_path))
    run = finished(outcome, tmp_path)
    assert run.dissection["history"] == []
    assert "S1 and S2" not in outcome.out
    assert run.checkpoint["uibe"]["datamodule"] == "ImageFolderDataModule"


@pytest.mark.parametrize("schedule", ["plateau", "constant"])
def test_other_schedules_train(bench: Bench, tmp_path: Path, schedule: str) -> None:
    run = fit(bench, tmp_path, "--model.lr_schedule", schedule)
    (optimizer,) = run.checkpoint["optimizer_states"]
    assert optimizer["param_groups"][0]["lr"] == 3e-3
    assert len(run.checkpoint["lr_schedulers"]) == (schedule == "plateau")


def test_plateau_lowers_the_learning_rate(bench: Bench, tmp_path: Path) -> None:
    impatient = ["--model.plateau_patience", "0", "--model.plateau_cooldown", "0", "--model.lr", "3"]
    run = fit(bench, tmp_path, "--model.lr_schedule", "plateau", *impatient, "--trainer.max_epochs", "5")
    (optimizer,) = run.checkpoint["optimizer_states"]
    assert optimizer["param_groups"][0]["lr"] < 3


def test_cosine_ends_at_zero(trained: Run) -> None:
    (optimizer,) = trained.checkpoint["optimizer_states"]
    assert optimizer["param_groups"][0]["lr"] == pytest.approx(0, abs=1e-9)


def test_resuming_ends_where_an_uninterrupted_run_does(bench: Bench, tmp_path: Path) -> None:
    constant = ["--model.lr_schedule", "constant"]
    whole = fit(bench, tmp_path / "whole", *constant, "--trainer.max_epochs", "3")
    first = fit(bench, tmp_path / "first", *constant, "--trainer.max_epochs", "1")
    rest = [*constant, "--trainer.max_epochs", "3", "--ckpt_path", first.path]
    resumed = fit(bench, tmp_path / "rest", *rest)
    assert [entry["epoch"] for entry in resumed.dissection["history"]] == [0, 1, 2]
    assert resumed.dissection["history"][0] == first.dissection["history"][0]
    assert same_tensors(whole.state, resumed.state)


def test_resuming_starts_nothing_anew(
    trained: Run, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    for name in ("start", "start_thresholds"):
        monkeypatch.setattr(InterpretableBasis, name, lambda *_, name=name, **__: started.append(name))
    fit(bench, tmp_path, "--ckpt_path", trained.path, "--trainer.max_epochs", "3")
    assert started == []


def test_bfloat16_keeps_the_rotation_exact(bench: Bench, tmp_path: Path) -> None:
    run = fit(bench, tmp_path, "--trainer.precision", "bf16-mixed", "--data.cache", "false")
    rotation = _rotation(run)
    assert {tensor.dtype for tensor in run.state.values() if tensor.is_floating_point()} == {torch.float32}
    assert float(orthogonality_error(rotation)) < 1e-5


def test_rotation_stays_orthogonal_and_moves(trained: Run) -> None:
    rotation = _rotation(trained)
    assert float(orthogonality_error(rotation)) < 1e-5
    assert (rotation - torch.eye(len(rotation))).abs().max() > 1e-2


def test_best_checkpoint_by_a_dissection_score(bench: Bench, tmp_path: Path) -> None:
    best = ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.monitor", "learned/S1"]
    named = ["--trainer.callbacks.mode", "max", "--trainer.callbacks.filename", "best"]
    run = fit(bench, tmp_path, *best, *named)
    content = torch.load(run.folder / "checkpoints" / "best.ckpt", weights_only=True)
    history = run.dissection["history"]
    assert content["epoch"] == max(history, key=lambda entry: entry["learned"]["S1"])["epoch"]
    assert run.path.is_file()
    assert f"checkpoint  {run.path}" in run.outcome.out


def test_csv_logger_gets_losses_and_scores(trained: Run, bench: Bench, tmp_path: Path) -> None:
    logger = ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", tmp_path]
    args = [arg for arg in quick(tmp_path) if "logger" not in arg and arg != str(tmp_path)]
    outcome = run_train(*synthetic(bench.root, bench.cache), *args, *logger)
    assert outcome.code == 0, outcome.err
    (path,) = tmp_path.rglob("metrics.csv")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name in ("loss/total", "loss/sparsity", "detectors/dead", "rotation/orthogonality_error"):
        assert [row[name] for row in rows if row.get(name)], name
    scores = [float(row["learned/S1"]) for row in rows if row["learned/S1"]]
    assert scores == pytest.approx([entry["learned"]["S1"] for entry in trained.dissection["history"]])


def test_accumulated_gradients_are_refused(bench: Bench, tmp_path: Path) -> None:
    outcome = run_train(
        *synthetic(bench.root, bench.cache), *quick(tmp_path), "--trainer.accumulate_grad_batches", "2"
    )
    assert outcome.code == 1
    assert outcome.err.startswith("error: trainer.accumulate_grad_batches")


def test_resuming_goes_on_along_the_cosine_of_the_longer_run(bench: Bench, tmp_path: Path) -> None:
    first = fit(bench, tmp_path / "first", "--trainer.max_epochs", "1")
    resumed = fit(bench, tmp_path / "rest", "--trainer.max_epochs", "2", "--ckpt_path", first.path)
    (optimizer,) = resumed.checkpoint["optimizer_states"]
    assert optimizer["param_groups"][0]["lr"] == pytest.approx(0, abs=1e-9)
    assert not same_tensors(first.state, resumed.state)


def test_resuming_says_which_model_options_the_checkpoint_replaces(
    trained: Run, bench: Bench, tmp_path: Path
) -> None:
    longer = ["--trainer.max_epochs", "3", "--ckpt_path", trained.path, "--model.tau", "0.5"]
    run = fit(bench, tmp_path, *longer)
    assert "tau 0.5 -> 0.9" in run.outcome.out
    assert run.checkpoint["hyper_parameters"]["tau"] == 0.9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--data.root", "other"], "other images"),
        (["--dissection.quantile", "0.05"], "dissection: expected the checkpoint's options"),
    ],
)
def test_resuming_under_other_conditions_is_refused(
    change: list[str], message: str, trained: Run, bench: Bench, tmp_path: Path
) -> None:
    place = [str(tmp_path / word) if word == "other" else word for word in change]
    extra = ["--data.render_seed", "1"] if "other" in change else []
    known = [*synthetic(bench.root, bench.cache), *quick(tmp_path), "--trainer.max_epochs", "3"]
    outcome = run_train(*known, *place, *extra, "--ckpt_path", trained.path)
    assert outcome.code == 1
    assert message in outcome.err


def test_last_epoch_by_steps_is_dissected(bench: Bench, tmp_path: Path) -> None:
    run = fit(bench, tmp_path, "--trainer.max_steps", "2", "--dissection.every_n_epochs", "10")
    assert len(run.dissection["history"]) == 1


def test_cosine_without_an_end_is_refused(bench: Bench, tmp_path: Path) -> None:
    outcome = run_train(*synthetic(bench.root, bench.cache), *quick(tmp_path), "--trainer.max_epochs", "-1")
    assert outcome.code == 1
    assert "cosine needs an end" in outcome.err


@pytest.mark.parametrize(("layer", "features"), [("features.0", 32), ("features.1", 48)])
def test_other_layers_have_other_sizes(bench: Bench, tmp_path: Path, layer: str, features: int) -> None:
    run = fit(bench, tmp_path, "--model.layer", layer, "--trainer.max_epochs", "1")
    assert run.state["basis.thresholds"].shape == (features,)


def test_training_leaves_the_backbone_alone(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[tuple[Backbone, dict[str, torch.Tensor]]] = []
    construct = Backbone.__init__

    def note(self: Backbone, *args: object, **kwargs: object) -> None:
        construct(self, *args, **kwargs)  # type: ignore[arg-type]
        built.append((self, {name: tensor.clone() for name, tensor in self.state_dict().items()}))

    monkeypatch.setattr(Backbone, "__init__", note)
    fit(bench, tmp_path, "--data.cache", "false", "--trainer.max_epochs", "1")
    (backbone, before) = built[-1]
    assert any(name.endswith("running_mean") for name in before)
    assert same_tensors(backbone.state_dict(), before)
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def test_damaged_rows_are_skipped_and_counted(
    broden_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (broden_root / "images/a/1.png").write_bytes(b"no image")
    data = ["--data", "datamodules.BrodenDataModule", "--data.root", broden_root, "--data.damaged", "skip"]
    with caplog.at_level(logging.WARNING):
        outcome = run_train(*data, "--data.cache_dir", tmp_path / "cache", *quick(tmp_path / "runs"))
    run = finished(outcome, tmp_path / "runs")
    assert "1 damaged rows" in caplog.text
    assert "a/1.png" in caplog.text
    assert run.dissection["history"]


def test_categories_can_be_chosen(tmp_path: Path) -> None:
    root = write_broden(tmp_path / "broden")
    data = [
        "--data",
        "datamodules.BrodenDataModule",
        "--data.root",
        root,
        "--data.categories",
        "[object,scene]",
    ]
    outcome = run_train(*data, "--data.cache_dir", tmp_path / "cache", *quick(tmp_path / "runs"))
    entry = finished(outcome, tmp_path / "runs").dissection["history"][-1]
    assert list(entry["learned"]["categories"]) == ["object", "scene"]


def _loss(run: Run) -> float:
    """The epoch's total loss as the checkpoint's monitor saw it."""
    events = EventAccumulator(str(run.folder))
    events.Reload()
    return float(events.Scalars("loss/total")[-1].value)


def _rotation(run: Run) -> torch.Tensor:
    return basis_from(run.checkpoint).rotation().detach()


def test_a_start_from_clusters_is_repeated_by_its_seed(bench: Bench, tmp_path: Path) -> None:
    options = ["--model.start", "kmeans", "--trainer.max_epochs", "1", "--model.start_firing", "0.02"]
    first, second = (fit(bench, tmp_path / name, *options) for name in "ab")
    assert same_tensors(first.state, second.state)
    identity = fit(bench, tmp_path / "c", "--trainer.max_epochs", "1", "--model.start_firing", "0.02")
    assert not torch.allclose(
        first.state["basis.rotation.base"], identity.state["basis.rotation.base"], atol=0.1
    )
