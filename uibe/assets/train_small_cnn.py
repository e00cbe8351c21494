"""Train the small CNN on a rendered data set and write its weights.

Run `python -m uibe.assets.train_small_cnn`; a few minutes on two cores. The set is rendered with a seed of
its own, so that the default synthetic data set is new to the network.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.functional.classification import multilabel_average_precision
from torchvision.transforms.functional import pil_to_tensor

from uibe.data.broden import BrodenDataset, BrodenIndex
from uibe.data.synthetic import render
from uibe.modules.small_cnn import SmallCNN, small_cnn

__all__ = ["main"]

_CATEGORIES = ("object", "scene", "texture")
_INPUT_SIZE = 96
_SEED = 20230317
_IGNORED = -1


class _Split(NamedTuple):
    """Images (N, 3, 96, 96) uint8 and targets (N, classes) int64: 1, 0 or -1 for not annotated."""

    images: Tensor
    targets: Tensor


def main(args: list[str] | None = None) -> dict[str, float]:
    """Render, train, evaluate and write the weights.

    Args:
        args: command line, that of the process by default; see `--help`.

    Returns:
        Validation scores from 0 to 1: `map` (mean over classes of the average precision over the
        annotated images), `scene_accuracy` and `texture_accuracy` (top-1 among their own classes).
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("small_cnn.safetensors"))
    parser.add_argument("--num-train", type=int, default=3000)
    parser.add_argument("--num-val", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=30)
    options = parser.parse_args(args)
    with tempfile.TemporaryDirectory() as folder:
        sizes = {"num_train": options.num_train, "num_val": options.num_val, "image_size": _INPUT_SIZE}
        root = render(Path(folder) / "set", **sizes, seed=_SEED, progress=True)
        index = BrodenIndex.read(root, _CATEGORIES)
        train, val = (_load(index, split) for split in ("train", "val"))
    scaled = train.images[::4].float() / 255
    mean, std = scaled.mean((0, 2, 3)), scaled.std((0, 2, 3))
    model = _train(train, mean, std, options.epochs)
    scores = _evaluate(model, _Split(_normalize(val.images, mean, std), val.targets), index)
    metadata = {
        "class_names": json.dumps(index.labels.names),
        "mean": json.dumps([round(v, 6) for v in mean.tolist()]),
        "std": json.dumps([round(v, 6) for v in std.tolist()]),
        "input_size": json.dumps([_INPUT_SIZE, _INPUT_SIZE]),
        "validation": json.dumps(scores),
    }
    save_file(model.state_dict(), options.output, metadata)
    Console().log(f"{options.output}: {scores}")
    return scores


def _load(index: BrodenIndex, split: str) -> _Split:
    """All images of a split and which concepts they show."""
    dataset = BrodenDataset(index, split, pil_to_tensor)
    images, targets = [], []
    for i in track(range(len(dataset)), f"Reading {split}", transient=True):
        sample = dataset[i]
        labels = sample["labels"]
        counts = torch.bincount(labels.planes.flatten(), minlength=len(index.labels.names) + 1)
        present = counts.sign()
        present[labels.image_wide + 1] = 1
        known = labels.annotated[index.labels.category]
        images.append(sample["image"])
        targets.append(torch.where(known, present[1:], _IGNORED))
    return _Split(torch.stack(images), torch.stack(targets))


def _train(split: _Split, mean: Tensor, std: Tensor, epochs: int) -> SmallCNN:
    """Fit a model to the annotated entries of the targets."""
    torch.manual_seed(_SEED)
    model = small_cnn(split.targets.shape[1]).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
    loader = DataLoader(TensorDataset(*split), batch_size=64, shuffle=True, drop_last=len(split.images) > 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=epochs * len(loader))
    for _ in track(range(epochs), "Training", transient=True):
        for images, targets in loader:
            batch = _normalize(_augment(images), mean, std)
            logits = model(batch.contiguous(memory_format=torch.channels_last))
            known, truth = targets != _IGNORED, targets.clamp(min=0).float()
            loss = F.binary_cross_entropy_with_logits(logits[known], truth[known], reduction="sum")
            optimizer.zero_grad()
            torch.autograd.backward(loss / known.sum().clamp(min=1))
            optimizer.step()
            schedule.step()
    return model.eval().to(memory_format=torch.contiguous_format)


def _augment(images: Tensor) -> Tensor:
    """Mirror half of the images, shift the batch by up to 8 pixels and vary its brightness."""
    mirrored = torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images.flip(-1), images)
    dy, dx = torch.randint(0, 17, (2,)).tolist()
    padded = F.pad(mirrored.float(), (8, 8, 8, 8), mode="reflect")
    crop = padded[..., dy : dy + images.shape[-2], dx : dx + images.shape[-1]]
    return crop * torch.empty(len(images), 1, 1, 1).uniform_(0.85, 1.15)


def _normalize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Images of 0 to 255 as the model wants them."""
    return (images / 255 - mean[:, None, None]) / std[:, None, None]


@torch.no_grad()
def _evaluate(model: SmallCNN, val: _Split, index: BrodenIndex) -> dict[str, float]:
    """Validation scores of a model."""
    images, targets = val
    logits = torch.cat([model(images[i : i + 100]) for i in range(0, len(images), 100)])
    shown = (targets == 1).any(0)
    precision = multilabel_average_precision(
        logits[:, shown], targets[:, shown], int(shown.sum()), ignore_index=_IGNORED
    )
    scores = {"map": float(precision)}
    for name in ("scene", "texture"):
        columns = index.labels.category == index.labels.categories.index(name)
        rows = (targets[:, columns] == 1).any(1)
        hits = logits[rows][:, columns].argmax(1) == targets[rows][:, columns].argmax(1)
        scores[f"{name}_accuracy"] = float(hits.float().mean())
    return {name: round(value, 4) for name, value in scores.items()}


if __name__ == "__main__":
    main()
