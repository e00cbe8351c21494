"""What the fuzzer found in checkpoints, exported folders and weights, each find by itself."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import uibe
from lightning_modules.checkpoint import module_from
from tests.running import Run
from uibe.errors import ConfigError, MismatchError
from uibe.library.checkpoint import read_checkpoint
from uibe.library.folder import read_folder
from uibe.modules.weights import is_library_name, read_weights


def _flipped(path: Path, pattern: bytes) -> None:
    """One bit of the first place that holds a pattern."""
    content = bytearray(path.read_bytes())
    content[content.index(pattern) + len(pattern) - 1] ^= 1
    path.write_bytes(bytes(content))


@pytest.fixture
def path(trained: Run, tmp_path: Path) -> Path:
    """A copy of a checkpoint."""
    path = tmp_path / "last.ckpt"
    torch.save(trained.checkpoint, path)
    return path


def test_flipped_bit_of_a_checkpoint_is_found(path: Path, trained: Run) -> None:
    _flipped(path, trained.state["basis.thresholds"].numpy().tobytes())
    with pytest.raises(MismatchError, match=r"last\.ckpt: damaged .*CRC-32"):
        read_checkpoint(path)


def test_flipped_bit_of_a_name_within_a_checkpoint_is_one_line(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.rindex(b"/serialization_id") + 1] = 0x0F  # of the zip file's directory
    path.write_bytes(content)
    with pytest.raises(MismatchError, match=r"last\.ckpt: damaged or no checkpoint .*CRC-32") as caught:
        read_checkpoint(path)
    assert str(caught.value).isprintable()


def test_flipped_bit_of_weights_is_found(tmp_path: Path) -> None:
    torch.save({"weight": torch.full((50,), 3.25)}, tmp_path / "net.pth")
    _flipped(tmp_path / "net.pth", torch.full((50,), 3.25).numpy().tobytes())
    with pytest.raises(ConfigError, match=r"net\.pth: truncated or not saved by torch"):
        read_weights(str(tmp_path / "net.pth"))


@pytest.mark.parametrize("suffix", ["", ".pth"])
def test_weights_of_too_long_a_name_are_refused(suffix: str) -> None:
    with pytest.raises(ConfigError, match="no such"):
        read_weights("9" * 5000 + suffix)
    assert is_library_name("9" * 5000)


Content = dict[str, Any]


def _nan(content: Content) -> None:
    content["state_dict"]["basis.thresholds"][3] = float("nan")


def _stretched(content: Content) -> None:
    content["state_dict"]["basis.rotation.base"] *= 1.1


def _half(content: Content) -> None:
    content["state_dict"]["basis.thresholds"] = content["state_dict"]["basis.thresholds"].half()


def _whole(content: Content) -> None:
    content["state_dict"]["basis.rotation.base"] = content["state_dict"]["basis.rotation.base"].long()


def _shape(content: Content) -> None:
    content["state_dict"]["basis.rotation.base"] = torch.eye(3)


def _renamed(content: Content) -> None:
    content["state_dict"]["basis.mean"] = content["state_dict"].pop("basis.standardizer.mean")


def _no_state(content: Content) -> None:
    del content["state_dict"]


def _odd_record(content: Content) -> None:
    content["uibe"]["format"] = ["1"]


def _odd_hash(content: Content) -> None:
    content["uibe"]["weights_sha256"] = "../x\n"


def _no_tensor(content: Content) -> None:
    content["state_dict"]["extra\n"] = "text"


def _odd_size(content: Content) -> None:
    content["hyper_parameters"]["image_size"] = [48.5, "x"]


CONTENTS = [
    _stretched,
    _half,
    _whole,
    _shape,
    _renamed,
    _no_state,
    _odd_record,
    _odd_hash,
    _no_tensor,
    _odd_size,
]


@pytest.mark.parametrize("change", CONTENTS)
def test_checkpoint_that_contradicts_itself_is_refused(path: Path, change: Callable[[Content], None]) -> None:
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    with pytest.raises(MismatchError, match=r"last\.ckpt: contradicts itself \(.*\); take an earlier one$"):
        read_checkpoint(path)


def test_numbers_that_are_not_finite_are_named(path: Path) -> None:
    content = torch.load(path, weights_only=True)
    _nan(content)
    torch.save(content, path)
    with pytest.raises(MismatchError, match=r"last\.ckpt: basis\.thresholds not finite"):
        read_checkpoint(path)


def test_options_that_make_no_module_are_refused(trained: Run) -> None:
    content = trained.checkpoint
    content["hyper_parameters"]["lr"] = "fast"
    with pytest.raises(MismatchError, match="checkpoint: its options make no module"):
        module_from(content)


@pytest.fixture
def exported(path: Path, tmp_path: Path) -> Path:
    """A folder with labels."""
    folder = uibe.load(path).save(tmp_path / "out")
    count = len(read_folder(folder).basis.thresholds)
    row = {"concept": "car", "category": "object", "iou": 0.1, "low": 0.0, "high": 0.2}
    rows = [{"direction": number, **row} for number in range(count)]
    (folder / "detectors.json").write_text(json.dumps({"detectors": rows}))
    assert read_folder(folder).labels
    return folder


def test_changed_tensor_of_a_basis_is_refused(exported: Path) -> None:
    path = exported / "basis.safetensors"
    _flipped(path, load_file(path)["standardized_thresholds"].numpy().tobytes())
    with pytest.raises(MismatchError, match=r"basis\.safetensors: contradicts itself .*SHA-256"):
        read_folder(exported)


def test_basis_without_a_checksum_is_read_if_its_numbers_are_finite(exported: Path) -> None:
    path = exported / "basis.safetensors"
    # copies: older releases of safetensors empty the file that these lie in before they write it
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    metadata = {"format": "uibe-basis-1", "standardization": "zscore", "rotation_map": "cayley"}
    save_file(tensors, path, metadata)
    assert read_folder(exported).basis.thresholds.equal(tensors["standardized_thresholds"])
    save_file({**tensors, "mean": tensors["mean"] * float("nan")}, path, metadata)
    with pytest.raises(MismatchError, match=r"basis\.safetensors: .*mean: expected finite"):
        read_folder(exported)


FOLDERS: dict[str, tuple[str, dict[str, Any], str]] = {
    "size": ("config.json", {"image_size": [48.5, 48]}, "odd image_size"),
    "layer": ("config.json", {"layer": 7}, "odd layer"),
    "weights": ("config.json", {"weights": []}, "odd weights"),
    "hash": ("config.json", {"weights_sha256": 1.5}, "lacks weights_sha256"),
    "no hash": ("config.json", {"weights_sha256": "../x"}, "lacks weights_sha256"),
    "labels": ("detectors.json", {"detectors": [{"concept": "car"}]}, "a detector lacks"),
    "too few": ("detectors.json", {"detectors": []}, "0 labels for"),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_odd_values_of_a_folder_are_refused(exported: Path, case: str) -> None:
    name, change, mention = FOLDERS[case]
    path = exported / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(MismatchError, match=f"{name}: {mention}"):
        read_folder(exported)


@pytest.mark.parametrize("content", ["[" * 100_000, None])
def test_labels_that_cannot_be_read_are_not_left_out(exported: Path, content: str | None) -> None:
    path = exported / "detectors.json"
    path.unlink()
    if content is None:
        path.symlink_to("detectors.json")
    else:
        path.write_text(content)
    with pytest.raises(MismatchError, match=r"detectors\.json: damaged"):
        read_folder(exported)
