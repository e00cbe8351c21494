"""Folders that are shared: written, read again, described, refused when damaged, uploaded."""

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

import uibe
from tests.running import Run, run_evaluate
from uibe.errors import ConfigError, MismatchError
from uibe.library import ConceptDetector, Label
from uibe.modules.linear_detectors import LinearDetectors


@pytest.fixture(scope="module")
def exported(trained: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("folder")
    outcome = run_evaluate("export", "--ckpt_path", trained.path, "--out", out, "--replicates", "10")
    assert outcome.code == 0, outcome.err
    return out


def test_folder_gives_what_the_checkpoint_gives(trained: Run, exported: Path) -> None:
    image = Image.effect_noise((64, 48), 90)
    folder, checkpoint = uibe.load(exported), uibe.load(str(trained.path))
    torch.testing.assert_close(folder.transform(image), checkpoint.transform(image))
    one, other = folder.explain(image)[0], checkpoint.explain(image)[0]
    assert (one.classes, one.names) == (other.classes, other.names)
    torch.testing.assert_close(one.contributions, other.contributions, rtol=1e-4, atol=1e-6)
    assert folder.labels is not None
    assert checkpoint.labels is None


def test_export_writes_labels_with_intervals(trained: Run, exported: Path, tmp_path: Path) -> None:
    assert run_evaluate("score", "--ckpt_path", trained.path, "--out", tmp_path).code == 0
    rows = json.loads((exported / "detectors.json").read_text())["detectors"]
    assert [row["direction"] for row in rows] == list(range(64))
    scores = json.loads((tmp_path / "metrics.json").read_text())
    assert sum(row["iou"] for row in rows) == pytest.approx(scores["S1"], rel=1e-9)
    loaded = uibe.load(exported).labels
    assert loaded is not None
    assert loaded[3]._asdict() == {key: rows[3][key] for key in Label._fields}


def test_export_without_data_has_no_labels(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from commands import labelling
    from uibe.errors import DataError

    def gone(*args: object) -> None:
        raise DataError("data/gone: no such folder")

    monkeypatch.setattr(labelling, "open_data", gone)
    outcome = run_evaluate("export", "--ckpt_path", trained.path, "--out", tmp_path)
    assert outcome.code == 0, outcome.err
    assert "labels   none: data/gone" in outcome.out
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "README.md",
        "basis.safetensors",
        "config.json",
    ]
    assert uibe.load(tmp_path).labels is None


def test_model_card_follows_the_hub_s_conventions(exported: Path) -> None:
    text = (exported / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    metadata = yaml.safe_load(front)
    assert metadata["library_name"] == "uibe"
    assert "arxiv:2303.10523" in metadata["tags"]
    assert metadata["backbone"] == "uibe.modules.small_cnn:small_cnn"
    assert "features.4" in body
    labels = uibe.load(exported).labels
    assert labels is not None
    assert f"{max(label.iou for label in labels):.3f}" in body


def test_model_card_names_the_data_and_the_command(trained: Run, exported: Path) -> None:
    text = (exported / "README.md").read_text()
    root = Path(trained.checkpoint["datamodule_hyper_parameters"]["root"])
    assert f"| data | {root.name} |" in text
    assert f"| learned on | {root.name} (SyntheticDataModule) |" in text
    assert re.search(r"\| images \| \d+ train, \d+ val \|", text)
    assert re.search(r"\| concepts \| \d+: \d+ color, \d+ object", text)
    assert f"    python evaluate.py export --ckpt_path last.ckpt --out {exported.name}" in text
    assert str(root.parent) not in text  # where it lies is nobody's business
    assert "This folder was made by (paths shortened to names)" in text


def test_names_cannot_break_the_card(trained: Run, tmp_path: Path) -> None:
    detector = uibe.load(trained.path)
    detector.labels = tuple(Label("a|b\n---", "c", 0.5, 0.4, 0.6) for _ in range(64))
    text = (detector.save(tmp_path) / "README.md").read_text()
    assert "a\\|b ---" in text
    assert text.count("\n---\n") == 1


def test_supervised_detectors_come_back_too(trained: Run, tmp_path: Path) -> None:
    plain = uibe.load(trained.path)
    basis = LinearDetectors(64, 2)
    with torch.no_grad():
        basis.weights.copy_(torch.randn(2, 64, generator=torch.Generator().manual_seed(0)))
    detector = ConceptDetector(plain.backbone, basis, [Label("x", "y", 0.1, 0.0, 0.2)] * 2)
    loaded = uibe.load(detector.save(tmp_path))
    image = Image.effect_noise((64, 48), 90)
    assert loaded.transform(image).shape[1] == 2
    torch.testing.assert_close(loaded.transform(image), detector.transform(image))
    assert float(loaded.explain(image)[0].residual.abs().max()) > 1e-3


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("config.json", "{", "config.json: damaged"),
        ("config.json", "[]", "expected a JSON object"),
        ("config.json", '{"format": 99}', "format 99 is newer than this version's 1; update uibe"),
        ("config.json", '{"format": "1"}', "expected format 1, got '1'"),
        ("config.json", "{}", "expected format 1, got None"),
        ("config.json", '{"format": 1}', "lacks backbone"),
        ("detectors.json", '{"detectors": []}', "0 labels for 64 directions"),
        ("detectors.json", '{"detectors": [{"concept": "a"}]}', "lacks 'category'"),
        ("basis.safetensors", "text", "expected a basis"),
    ],
)
def test_damaged_folders_are_refused(
    exported: Path, tmp_path: Path, name: str, change: str, message: str
) -> None:
    for path in exported.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / name).write_text(change)
    with pytest.raises(MismatchError, match=message):
        uibe.load(tmp_path)


def test_other_weights_are_refused(exported: Path, tmp_path: Path) -> None:
    for path in exported.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "weights_sha256": "0" * 64}))
    with pytest.raises(MismatchError, match="weights have sha256"):
        uibe.load(tmp_path)


def test_push_uploads_the_folder(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, Any]] = []

    def upload_folder(repo_id: str, folder_path: str, token: str | None) -> str:
        calls.append((repo_id, sorted(path.name for path in Path(folder_path).iterdir())))
        return f"https://huggingface.co/{repo_id}"

    def create_repo(repo_id: str, **options: object) -> None:
        calls.append((repo_id, options["private"]))

    fake = SimpleNamespace(create_repo=create_repo, upload_folder=upload_folder)
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)  # type: ignore[arg-type]
    address = uibe.load(trained.path).push("me/basis", private=True)
    assert address == "https://huggingface.co/me/basis"
    assert calls == [("me/basis", True), ("me/basis", ["README.md", "basis.safetensors", "config.json"])]


def test_push_says_what_is_missing_or_refused(trained: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"pip install \"uibe\[hub\]\""):
        uibe.load(trained.path).push("me/basis")

    def refuse(*args: object, **options: object) -> None:
        raise OSError("401: who are you?\nmore")

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(create_repo=refuse))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"refused \(401: who are you\?\)"):
        uibe.load(trained.path).push("me/basis")
