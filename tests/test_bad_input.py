"""Whatever is wrong with what a user gives, the answer is one line that names it."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import uibe.assets
from tests.data.builders import edit, write_mask
from tests.running import (
    Bench,
    Outcome,
    Run,
    broden,
    finished,
    fit,
    quick,
    run_evaluate,
    run_train,
    synthetic,
)
from uibe.errors import DataError

WEIGHTS = Path(uibe.assets.__file__).with_name("small_cnn.safetensors")


def refused(outcome: Outcome, *mentions: str) -> None:
    """One line on standard error, with all that it should mention."""
    assert outcome.code == 1, outcome.err
    (line,) = outcome.err.splitlines()
    assert line.startswith("error: ")
    for mention in mentions:
        assert mention in line


def usage(outcome: Outcome, *mentions: str) -> None:
    """The usage text and an error below it: what argument parsers do."""
    assert outcome.code == 2, outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.err.lower().count("error: ") >= 1
    for mention in mentions:
        assert mention in outcome.err


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _no_train(root: Path) -> None:
    text = (root / "index.csv").read_text()
    (root / "index.csv").write_text(text.replace(",train,", ",val,"))


def _no_val(root: Path) -> None:
    text = (root / "index.csv").read_text()
    (root / "index.csv").write_text(text.replace(",val,", ",train,"))


def _as_file(root: Path) -> None:
    shutil.rmtree(root)
    root.write_text("no folder")


def _set_mask(root: Path, numbers: np.ndarray) -> None:
    write_mask(root / "images/a/0_object.png", numbers)


DAMAGE: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "missing root": (shutil.rmtree, ("broden: no such folder",)),
    "a file as root": (_as_file, ("broden: no such folder",)),
    "no index": (lambda root: (root / "index.csv").unlink(), ("index.csv: no such file",)),
    "no column": (lambda root: edit(root / "index.csv", "split", "part2"), ("index.csv, line 1", "split")),
    "bad split": (lambda root: edit(root / "index.csv", ",val,", ",test,"), ("index.csv, line 4", "'test'")),
    "bad label": (lambda root: edit(root / "label.csv", "car,", "car,x"), ("label.csv, line 3",)),
    "outside": (lambda root: edit(root / "index.csv", "a/1.png", "../1.png"), ("line 3", "../1.png")),
    "no mask": (
        lambda root: (root / "images/a/0_object.png").unlink(),
        ("a/0_object.png", "index.csv, line 2", "no such file"),
    ),
    "mask size": (
        lambda root: _set_mask(root, np.zeros((3, 3), np.int64)),
        ("a/0_object.png", "index.csv, line 2", "3 x 3", "6 x 4"),
    ),
    "truncated mask": (
        lambda root: _truncate(root / "images/a/0_object.png"),
        ("a/0_object.png", "index.csv, line 2", "cannot be decoded"),
    ),
    "unknown label": (
        lambda root: _set_mask(root, np.full((4, 6), 77)),
        ("a/0_object.png", "index.csv, line 2", "label number 77"),
    ),
    "no image": (
        lambda root: (root / "images/b/2.jpg").write_bytes(b"not a picture"),
        ("b/2.jpg", "index.csv, line 4", "cannot be decoded"),
    ),
    "no train rows": (_no_train, ("index.csv", "'train'")),
    "no val rows": (_no_val, ("index.csv", "'val'")),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_data_is_refused(case: str, broden_root: Path, tmp_path: Path) -> None:
    damage, mentions = DAMAGE[case]
    damage(broden_root)
    outcome = run_train(*broden(broden_root, tmp_path / "cache"), *quick(tmp_path / "runs"))
    refused(outcome, *mentions)
    assert not (tmp_path / "cache").exists()
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize("case", ["missing root", "truncated mask", "no val rows"])
def test_damaged_data_is_refused_by_score(case: str, broden_root: Path, trained: Run, tmp_path: Path) -> None:
    damage, mentions = DAMAGE[case]
    damage(broden_root)
    out = tmp_path / "out"
    # the recorded data module is the renderer, which only takes its own folders: give it a Broden checkpoint
    content = trained.checkpoint
    content["uibe"]["datamodule"] = "BrodenDataModule"
    content["datamodule_hyper_parameters"] = {"root": str(broden_root), "cache_dir": str(tmp_path / "cache")}
    torch.save(content, tmp_path / "broden.ckpt")
    refused(run_evaluate("score", "--ckpt_path", tmp_path / "broden.ckpt", "--out", out), *mentions)
    assert not out.exists()


def test_image_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    data = ["--data", "datamodules.ImageFolderDataModule", "--data.cache_dir", tmp_path / "cache"]
    refused(run_train(*data, "--data.root", tmp_path / "empty", *quick(tmp_path)), "empty: no images")
    Image.new("RGB", (9, 9)).save(tmp_path / "empty" / "a.jpg")
    _truncate(tmp_path / "empty" / "a.jpg")
    refused(run_train(*data, "--data.root", tmp_path / "empty", *quick(tmp_path)), "a.jpg: cannot be decoded")
    assert not list((tmp_path / "cache").glob("*"))


def test_synthetic_root_with_other_content_is_refused(bench: Bench, trained: Run, tmp_path: Path) -> None:
    options = [*synthetic(bench.root, bench.cache), "--data.render_seed", "3", *quick(tmp_path)]
    refused(run_train(*options), f"{bench.root}: holds something else")


MODEL: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "torchvision": (["--model.backbone", "torchvision:resnet81"], ("resnet81", "resnet18")),
    "timm": (["--model.backbone", "timm:resnet1"], ("timm:resnet1", "did you mean")),
    "import": (["--model.backbone", "no_such_package:net"], ("no_such_package",)),
    "callable": (["--model.backbone", "uibe.modules.small_cnn:small_cn"], ("small_cn", "small_cnn")),
    "layer": (["--model.layer", "features.9"], ("features.9", "features.4")),
    "flat layer": (["--model.layer", "classifier"], ("classifier", "(N, D, H, W)")),
    "weights": (["--model.weights", "nowhere/net.pth"], ("nowhere/net.pth", "no such file")),
    "package": (["--model.weights", "package:no_such_package"], ("no_such_package",)),
    "margin": (["--model.margin", "0"], ("margin",)),
    "tau": (["--model.tau", "2"], ("model.tau: 2",)),
    "gamma": (["--model.gamma", "0"], ("model.gamma: 0",)),
    "lr": (["--model.lr", "-1"], ("model.lr: -1",)),
    "start_firing": (["--model.start_firing", "1"], ("model.start_firing: 1",)),
    "rebase_every": (["--model.rebase_every", "-1"], ("model.rebase_every: -1",)),
    "max_angle": (["--model.max_angle", "0"], ("model.max_angle: 0",)),
    "mean": (["--model.mean", "[0.5]"], ("mean: expected three numbers",)),
    "std": (["--model.std", "[1,1,0]"], ("std: expected three positive",)),
    "image_size": (["--model.image_size", "0"], ("image_size",)),
    "batch_size": (["--data.batch_size", "0"], ("data.batch_size: expected at least 1, got 0",)),
    "pixels": (["--data.pixels_per_batch", "0"], ("data.pixels_per_batch",)),
    "passes": (["--data.passes_per_epoch", "0"], ("data.passes_per_epoch",)),
    "workers": (["--data.num_workers", "-1"], ("data.num_workers",)),
    "num_val": (["--data.num_val", "0", "--data.root", "fresh"], ("num_val: 0",)),
    "categories": (["--data.categories", "[object,taste]"], ("categories: taste", "object")),
    "quantile": (["--dissection.quantile", "1.5"], ("dissection.quantile", "1.5")),
    "thresholds": (["--dissection.thresholds", "[]"], ("dissection.thresholds",)),
    "every": (["--dissection.every_n_epochs", "-1"], ("dissection.every_n_epochs",)),
    "figures": (["--figures.images", "0"], ("figures",)),
    "checkpoint": (["--ckpt_path", "nowhere/last.ckpt"], ("nowhere/last.ckpt", "no such file")),
}


@pytest.mark.parametrize("case", MODEL)
def test_options_out_of_range_are_refused(
    case: str, bench: Bench, trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options, mentions = MODEL[case]
    refused(run_train(*synthetic(bench.root, bench.cache), *quick(tmp_path), *options), *mentions)
    assert not list(tmp_path.rglob("*.ckpt"))


MISTYPED: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "option": (["--model.strat", "pca"], ("strat",)),
    "start": (["--model.start", "middle"], ("middle",)),
    "rotation": (["--model.rotation_map", "euler"], ("euler",)),
    "standardization": (["--model.standardization", "l2"], ("l2",)),
    "schedule": (["--model.lr_schedule", "linear"], ("linear",)),
    "number": (["--model.lr", "fast"], ("fast",)),
    "union": (["--dissection.union", "all"], ("all",)),
    "policy": (["--dissection.thresholds", "[loose]"], ("loose",)),
    "dtype": (["--data.cache_dtype", "int8"], ("int8",)),
    "damaged": (["--data.damaged", "mend"], ("mend",)),
    "config": (["--config", "nowhere.yaml"], ("nowhere.yaml",)),
    "data module": (["--data", "NoSuchDataModule"], ("NoSuchDataModule",)),
}


@pytest.mark.parametrize("case", MISTYPED)
def test_mistyped_options_get_the_usage(case: str, bench: Bench, trained: Run, tmp_path: Path) -> None:
    options, mentions = MISTYPED[case]
    usage(run_train("fit", *synthetic(bench.root, bench.cache), *quick(tmp_path), *options), *mentions)


@pytest.mark.parametrize(
    ("options", "mention"),
    [
        (["--union", "all"], "all"),
        (["--thresholds", "loose"], "loose"),
        (["--quantiles", "0.1"], "quantiles"),
    ],
)
def test_mistyped_options_of_score_get_the_usage(
    trained: Run, tmp_path: Path, options: list[str], mention: str
) -> None:
    out = tmp_path / "out"
    usage(run_evaluate("score", "--ckpt_path", trained.path, "--out", out, *options), mention)
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "mention"),
    [
        (["--quantile", "0"], "--quantile: expected a share"),
        (["--quantile", "1"], "--quantile: expected a share"),
        (["--device", "gpu9"], "--device: 'gpu9'"),
        (["--weights", "nowhere.pth"], "nowhere.pth: no such file"),
        (["--data.batch_size", "0"], "data.batch_size"),
    ],
)
def test_options_of_score_out_of_range_are_refused(
    trained: Run, tmp_path: Path, options: list[str], mention: str
) -> None:
    out = tmp_path / "out"
    refused(run_evaluate("score", "--ckpt_path", trained.path, "--out", out, *options), mention)
    assert not list(out.glob("*"))


@pytest.mark.parametrize("command", ["score", "export"])
def test_out_that_is_a_file_is_refused(command: str, trained: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("mine")
    refused(run_evaluate(command, "--ckpt_path", trained.path, "--out", out), f"out: {out}")
    assert out.read_text() == "mine"


def _text(path: Path) -> None:
    path.write_text("epoch 1")


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _overwritten(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3 :] = bytes(len(content) - len(content) // 3)
    path.write_bytes(bytes(content))


def _other_checkpoint(path: Path) -> None:
    torch.save({"state_dict": {"weight": torch.zeros(2)}}, path)


def _tensor(path: Path) -> None:
    torch.save(torch.zeros(3), path)


def _program(path: Path) -> None:
    torch.save({"uibe": Outcome(0, "", "")}, path)  # a class that loading would have to import


def _newer(path: Path) -> None:
    torch.save({"uibe": {"format": 99}}, path)


def _without_format(path: Path) -> None:
    torch.save({"uibe": {"weights_sha256": "0"}}, path)


BROKEN = [
    _truncate, _text, _empty, _overwritten, _other_checkpoint, _tensor, _program, _newer, _without_format,
]  # fmt: skip


@pytest.mark.parametrize("breakage", BROKEN, ids=[each.__name__ for each in BROKEN])
@pytest.mark.parametrize("command", ["score", "export", "resume"])
def test_broken_checkpoint_is_refused(
    command: str, breakage: Callable[[Path], None], trained: Run, bench: Bench, tmp_path: Path
) -> None:
    path = Path(shutil.copy(trained.path, tmp_path / "broken.ckpt"))
    breakage(path)
    out = tmp_path / "out"
    if command == "resume":
        data = synthetic(bench.root, bench.cache)
        refused(run_train(*data, *quick(out), "--ckpt_path", path), str(path))
    else:
        refused(run_evaluate(command, "--ckpt_path", path, "--out", out), str(path))
    assert not list(out.glob("*"))


@pytest.mark.parametrize("command", ["score", "export"])
def test_missing_checkpoint_is_refused(command: str, tmp_path: Path) -> None:
    path = tmp_path / "none.ckpt"
    refused(run_evaluate(command, "--ckpt_path", path, "--out", tmp_path / "out"), f"{path}: no such file")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A copy of the shipped weights."""
    return Path(shutil.copy(WEIGHTS, tmp_path / "weights.safetensors"))


def _change(path: Path, value: float) -> None:
    tensors = load_file(path)
    tensors["features.0.0.weight"][0, 0, 0, 0] = value
    save_file(tensors, path)


def test_weights_that_do_not_fit_are_refused(
    bench: Bench, trained: Run, weights: Path, tmp_path: Path
) -> None:
    save_file({"other.weight": torch.zeros(3, 3)}, weights)
    data = [*synthetic(bench.root, bench.cache), *quick(tmp_path)]
    refused(run_train(*data, "--model.weights", weights), "do not fit", "other.weight")
    weights.write_bytes(b"no weights")
    refused(run_train(*data, "--model.weights", weights), str(weights))


def test_features_that_are_not_finite_are_refused(
    bench: Bench, trained: Run, weights: Path, tmp_path: Path
) -> None:
    _change(weights, float("nan"))
    cache = tmp_path / "cache"
    data = [*synthetic(bench.root, cache), *quick(tmp_path / "runs"), "--model.weights", weights]
    refused(run_train(*data), "image row 0, channel", "nan")
    assert not list(cache.iterdir())
    refused(run_train(*data, "--data.cache", "false"), "finite")
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize("command", ["score", "resume"])
def test_weights_that_changed_since_training_are_refused(
    command: str, bench: Bench, weights: Path, tmp_path: Path
) -> None:
    run = fit(bench, tmp_path / "runs", "--model.weights", weights, "--data.cache", "false")
    _change(weights, 0.5)
    out = tmp_path / "out"
    if command == "score":
        outcome = run_evaluate("score", "--ckpt_path", run.path, "--out", out)
    else:
        outcome = run_train(*synthetic(bench.root, bench.cache), *quick(out), "--ckpt_path", run.path)
    refused(outcome, "weights have sha256", str(weights))
    assert not list(out.rglob("*.ckpt"))
    assert not list(out.glob("*.json"))


def test_debug_shows_the_traceback(broden_root: Path, tmp_path: Path) -> None:
    shutil.rmtree(broden_root)
    data = [*broden(broden_root, tmp_path), *quick(tmp_path)]
    with pytest.raises(DataError, match="no such folder"):
        run_train(*data, "--debug")


def test_debug_shows_the_traceback_of_evaluate(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        run_evaluate("export", "--ckpt_path", tmp_path / "none", "--out", tmp_path, "--debug")


def test_all_rows_damaged_is_refused_even_when_skipping(broden_root: Path, tmp_path: Path) -> None:
    for image in [*broden_root.rglob("*.jpg"), broden_root / "images/a/1.png"]:
        image.write_bytes(b"")
    data = [*broden(broden_root, tmp_path / "cache"), "--data.damaged", "skip", *quick(tmp_path)]
    refused(run_train(*data), "all 4 images are damaged")


def test_no_train_row_left_after_skipping_is_refused(broden_root: Path, tmp_path: Path) -> None:
    for image in ("a/0.jpg", "a/1.png"):
        (broden_root / "images" / image).write_bytes(b"")
    data = [*broden(broden_root, tmp_path / "cache"), "--data.damaged", "skip", *quick(tmp_path)]
    refused(run_train(*data), "index.csv", "'train'")


def test_damaged_cache_is_refused(broden_root: Path, tmp_path: Path) -> None:
    data = [*broden(broden_root, tmp_path / "cache"), *quick(tmp_path / "runs")]
    finished(run_train(*data), tmp_path / "runs")
    (array,) = (tmp_path / "cache").rglob("features-*.npy")
    _truncate(array)
    refused(run_train(*data), str(array), "delete the folder")


def test_error_of_the_real_process_is_one_line(tmp_path: Path) -> None:
    program = Path(__file__).parents[1] / "evaluate.py"
    command = [sys.executable, str(program), "export", "--ckpt_path", "none.ckpt", "--out", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    refused(Outcome(done.returncode, done.stdout, done.stderr), "none.ckpt: no such file")
