"""Checkpoints, weights, exported folders and runs: what is fuzzed of them and how it is judged."""

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

import uibe
from lightning_modules import BasisModule
from lightning_modules.checkpoint import module_from, read_checkpoint
from lightning_modules.frozen import record
from lightning_modules.resume import run_to_resume
from tests.fuzz.configs import OPTIONS
from tests.fuzz.file_mutations import byte_mutations, change_value, json_mutation, odd_value, swap_mutation
from tests.fuzz.harness import Kind, Mutation, Verdict, Wrong
from tests.fuzz.yaml_mutations import yaml_mutations
from uibe.functional.detectors import Detectors
from uibe.functional.moments import pixel_moments
from uibe.functional.orthogonal import random_rotation
from uibe.library.checkpoint import CHECKPOINT_FORMAT
from uibe.library.folder import write_folder
from uibe.library.labels import Label
from uibe.modules.backbone import Backbone
from uibe.modules.basis import InterpretableBasis

__all__ = ["checkpoints", "folders", "runs", "weights"]

_NET, _WEIGHTS, _LAYER = "uibe.modules.small_cnn:small_cnn", "package:uibe.assets", "features.0"


def _module() -> BasisModule:
    module = BasisModule(_NET, _WEIGHTS, _LAYER, image_size=12)
    draw = torch.Generator().manual_seed(0)
    module.basis.start(pixel_moments(torch.rand(99, 32, generator=draw)))
    module.basis.rotation.start_from(random_rotation(32, draw))
    module.basis.start_thresholds(torch.rand(32, generator=draw))
    return module


def write_checkpoint(path: Path) -> Detectors:
    """A checkpoint as training writes it, less what only a trainer reads; its detectors."""
    module = _module()
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "uibe": record(module.backbone, None),
        "state_dict": module.state_dict(),
        "hyper_parameters": dict(module.hparams),
        "datamodule_hyper_parameters": {"root": "set"},
        "epoch": 2,
        "global_step": 8,
    }
    torch.save(content, path)
    return module.basis.detectors()


def _same(found: Detectors, expected: Detectors) -> None:
    if not all(torch.equal(one, other) for one, other in zip(found, expected, strict=True)):
        raise Wrong("other detectors")


def _content(change: Callable[[dict[str, Any], Random], str]) -> Callable[[Path, Random], Sequence[str]]:
    """A mutation of what a checkpoint holds."""

    def apply(root: Path, draw: Random) -> Sequence[str]:
        path = root / "last.ckpt"
        content = torch.load(path, weights_only=True)
        touched = change(content, draw)
        torch.save(content, path)
        return [path.name, "checkpoint", f" {touched}", f"{touched}:"]

    return apply


def _tensor(change: Callable[[Tensor, Random], Any]) -> Callable[[dict[str, Any], Random], str]:
    """A change of one of the basis's tensors of numbers."""

    def apply(content: dict[str, Any], draw: Random) -> str:
        state = content["state_dict"]
        name: str = draw.choice([name for name in state if state[name].is_floating_point()])
        state[name] = change(state[name], draw)
        return name

    return apply


def _poison(tensor: Tensor, draw: Random) -> Tensor:
    changed = tensor.clone()
    changed.view(-1)[draw.randrange(changed.numel())] = draw.choice([float("nan"), float("inf")])
    return changed


def _turned(content: dict[str, Any], draw: Random) -> str:
    """A rotation that is none."""
    base = content["state_dict"]["basis.rotation.base"]
    base[draw.randrange(32)] *= draw.choice([0.0, 1.1, 30.0])
    return "base"


def _lost(content: dict[str, Any], draw: Random) -> str:
    state = content["state_dict"]
    name: str = draw.choice(list(state))
    if draw.random() < 0.5:
        state["basis.other"] = state[name]
    del state[name]
    return name


def _no_record(content: dict[str, Any], draw: Random) -> str:
    """Without one of the parts that are always there."""
    name = draw.choice(["uibe", "state_dict", "hyper_parameters"])
    if draw.random() < 0.5:
        del content[name]
    else:
        content[name] = odd_value(draw)
    return name


def _newer(content: dict[str, Any], draw: Random) -> str:
    content["uibe"]["format"] = draw.choice([CHECKPOINT_FORMAT + 1, 99])
    return "format"


def _value(part: str) -> Callable[[dict[str, Any], Random], str]:
    return lambda content, draw: change_value(content[part], draw)


_CHECKPOINT: list[tuple[str, Verdict, Callable[[dict[str, Any], Random], str]]] = [
    ("a value of the record", "either", _value("uibe")),
    ("an option", "either", _value("hyper_parameters")),
    ("a part missing or odd", "refused", _no_record),
    ("a newer format", "refused", _newer),
    ("a tensor missing or renamed", "refused", _lost),
    ("a value that is not finite", "refused", _tensor(_poison)),
    ("another shape", "refused", _tensor(lambda tensor, draw: torch.zeros(draw.choice([(3,), (5, 7)])))),
    ("whole numbers", "refused", _tensor(lambda tensor, draw: tensor.long())),
    ("half precision", "refused", _tensor(lambda tensor, draw: tensor.half())),
    ("complex numbers", "refused", _tensor(lambda tensor, draw: tensor.to(torch.complex64))),
    ("no tensor", "refused", _tensor(lambda tensor, draw: odd_value(draw))),
    ("no rotation", "refused", _turned),
]


def checkpoints(scratch: Path) -> Kind:
    """One checkpoint, read by `uibe.load` and as a module."""
    truth = write_checkpoint(scratch / "pristine" / "last.ckpt")

    def judge(folder: Path, draw: Random) -> None:
        path = folder / "last.ckpt"
        if draw.random() < 0.5:
            _same(uibe.load(path).basis.detectors(), truth)
        else:
            _same(module_from(read_checkpoint(path)).basis.detectors(), truth)

    edits = [Mutation(name, verdict, _content(change)) for name, verdict, change in _CHECKPOINT]
    files = byte_mutations("last.ckpt", loose=["lost bytes"])
    return Kind("checkpoints", scratch / "pristine", [*edits, *edits, *files, *files], judge)


def weights(scratch: Path) -> Kind:
    """The shipped weights in both formats; what was changed unnoticed must have another hash."""
    sound = Backbone(_NET, _WEIGHTS, _LAYER, image_size=12)
    pristine = scratch / "pristine"
    pristine.mkdir(parents=True)
    state = {name: tensor.clone() for name, tensor in sound.network.state_dict().items()}
    save_file(state, pristine / "net.safetensors")
    torch.save(state, pristine / "net.pth")

    def judge(folder: Path, draw: Random) -> None:
        for name in ("net.pth", "net.safetensors"):
            found = Backbone(_NET, str(folder / name), _LAYER, image_size=12)
            found.verify_weights(sound.weights_sha256)

    pickled = byte_mutations("*.pth", loose=["lost bytes"])
    flat = byte_mutations("*.safetensors", loose=["lost bytes"])
    return Kind("weights", pristine, [*pickled, *flat, Mutation("a tensor", "refused", _reshaped)], judge)


def _reshaped(root: Path, draw: Random) -> Sequence[str]:
    path = root / "net.safetensors"
    state = load_file(path)
    name = draw.choice(list(state))
    kinds = [lambda tensor: tensor[None], lambda tensor: tensor.double() + 1, lambda tensor: tensor * 0 - 1]
    state[name] = draw.choice(kinds)(state[name]).contiguous()
    save_file(state, path)
    return [path.name]


def folders(scratch: Path) -> Kind:
    """A folder that `export` wrote, with labels."""
    module, pristine = _module(), scratch / "pristine"
    labels = [Label(f"concept {number}", "object", 0.1, 0.05, 0.2) for number in range(32)]
    write_folder(pristine, module.backbone, module.basis, labels)
    truth = module.basis.detectors()

    def judge(folder: Path, draw: Random) -> None:
        detector = uibe.load(folder)
        _same(detector.basis.detectors(), truth)
        if detector.basis.margin != module.basis.margin:
            raise Wrong("another margin")

    basis = byte_mutations("basis.safetensors", strict=["more bytes"])
    named = ["backbone", "weights", "layer", "image_size", "mean", "std", "input_range"]
    config = byte_mutations("config.json", loose=["lost bytes"], named=named)
    found = byte_mutations("detectors.json", loose=["missing", "lost bytes"])
    edits = [json_mutation("config.json"), json_mutation("detectors.json")]
    return Kind("folders", pristine, [*basis, *config, *found, *edits * 5, _stretched()], judge)


def _stretched() -> Mutation:
    """Tensors of the basis changed by hand."""

    def apply(root: Path, draw: Random) -> Sequence[str]:
        path = root / "basis.safetensors"
        basis = InterpretableBasis.load(path)
        tensors = load_file(path)
        name = draw.choice(["rotation", "standardized_thresholds", "mean", "transform", "log_margin"])
        tensors[name] = tensors[name] * draw.choice([0.5, float("nan"), 1e30]) + draw.choice([0, 0.25])
        described = basis._describe()
        save_file(tensors, path, {**described, "tensors_sha256": draw.choice(["", "0" * 64])})
        return [path.name]

    return Mutation("a tensor of the basis changed", "refused", apply)


def runs(scratch: Path) -> Kind:
    """A folder of runs of which `--resume auto` seeks the newest with the same options."""
    pristine = scratch / "pristine"
    for version in ("version_0", "version_1"):
        folder = pristine / "uibe" / version
        truth = write_checkpoint(folder / "checkpoints" / "last.ckpt")
        write_checkpoint(folder / "checkpoints" / "previous.ckpt")
        (folder / "config.yaml").write_text(yaml.safe_dump(OPTIONS), encoding="utf-8")

    def judge(folder: Path, draw: Random) -> None:
        trainer = OPTIONS["trainer"]
        logger = {**trainer["logger"], "init_args": {"save_dir": str(folder), "name": "uibe"}}
        found = run_to_resume({**OPTIONS, "trainer": {**trainer, "logger": logger}})
        if found is None:
            raise Wrong("of four checkpoints and two runs one is sound")
        _same(module_from(read_checkpoint(found.checkpoint)).basis.detectors(), truth)

    texts = [each._replace(verdict="accepted") for each in yaml_mutations("version_1/config.yaml", "either")]
    files = byte_mutations("version_1/checkpoints/*.ckpt")
    files = [each._replace(verdict="accepted") for each in [*files, swap_mutation("checkpoints/*.ckpt")]]
    return Kind("runs", pristine, [*texts, *files], judge)
