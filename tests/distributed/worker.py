"""One process of a distributed run: `python -m tests.distributed.worker RANK WORLD FOLDER`.

Everything is computed from the same seeds, each process taking its share; the results go to `RANK.pt`.
"""

import sys
from copy import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from uibe.data.broden import BrodenDataset
from uibe.data.cache import CacheKey, fill
from uibe.data.features import FeatureStore
from uibe.data.index import BrodenIndex
from uibe.functional.criteria import PixelSums, criteria, pixel_sums
from uibe.functional.detectors import Detectors
from uibe.functional.fused import fused_loss_sums
from uibe.functional.losses import LossSums, LossWeights, loss_sums, loss_terms, total_loss
from uibe.functional.processes import broadcast, global_sum, global_sums, shared_text, sizes
from uibe.functional.quantiles import column_quantiles
from uibe.metrics.dissection import dissect_replicates, sweep_thresholds
from uibe.metrics.running import RunningMeans, RunningMoments
from uibe.metrics.tallies import tally_split
from uibe.modules.backbone import Backbone
from uibe.modules.basis import InterpretableBasis

PIXELS, FEATURES = 53, 6


class Objective(nn.Module):
    """The loss of a share of the pixels, for DDP to wrap."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.fused = fused
        self.basis = InterpretableBasis(FEATURES, "none", margin=0.4).double()
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            self.basis.thresholds.copy_(torch.randn(FEATURES, generator=generator))
            if not fused:
                draw = torch.randn(FEATURES, FEATURES, generator=generator, dtype=torch.float64)
                self.basis.rotation.generator.copy_(draw)

    def forward(self, pixels: Tensor) -> Tensor:
        logits = self.basis.tangent(pixels) if self.fused else self.basis(pixels)
        sums = (fused_loss_sums if self.fused else loss_sums)(logits, 2.0)
        self.terms = loss_terms(LossSums(*global_sums(*sums)), self.basis.margin, tau=0.9)
        return total_loss(self.terms, LossWeights())


def objective(pixels: Tensor, world: int, fused: bool) -> dict[str, Any]:
    """Terms, gradients, and where a few steps of plain gradient descent lead."""
    module = Objective(fused)
    wrapped = DistributedDataParallel(module) if world > 1 else module
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
    results: dict[str, Any] = {}
    for step in range(5):
        optimizer.zero_grad()
        wrapped(pixels).backward()
        if step == 0:
            results["terms"] = torch.stack(list(module.terms)).detach()
            results["gradients"] = {name: each.grad.clone() for name, each in module.named_parameters()}
        optimizer.step()
        if fused:
            module.basis.rotation.rebase()
    results["state"] = module.state_dict()
    return results


def store_of(folder: Path, rank: int) -> FeatureStore:
    """Random features of a rendered set that the parent made, cached once by each process."""
    index = BrodenIndex.read(folder / "set")
    backbone = Backbone("uibe.modules.small_cnn:small_cnn", None, "features.4", image_size=32)
    height, width = backbone.feature_size
    shape = (len(index.rows), FEATURES, height, width)
    features = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    cache = fill(folder / f"cache{rank}", CacheKey(dtype="float32"), len(features), [features])
    splits = {split: index.split_rows(split) for split in ("train", "val")}
    return FeatureStore(BrodenDataset(index), splits, backbone, cache, batch_size=4)


def dissection(store: FeatureStore) -> dict[str, Any]:
    """Thresholds, tallies, scores and their bootstrap."""
    directions = torch.linalg.qr(torch.randn(FEATURES, FEATURES, generator=torch.Generator().manual_seed(3)))
    thresholds = sweep_thresholds(store, directions.Q, (0.01, 0.2))
    sets = {str(i): Detectors(directions.Q, each) for i, each in enumerate(thresholds)}
    counts = {name: tally.counts() for name, tally in tally_split(sets, store, "train").items()}
    found, replicates = dissect_replicates(sets, store, replicates=20, seed=4)
    grouped = copy(store)
    grouped.group_by = r"[0-5]\.jpg$"
    return {
        "thresholds": thresholds,
        "tallies": {name: each._asdict() for name, each in counts.items()},
        "scores": {name: each.scores()._asdict() for name, each in found.items()},
        "labels": {name: each.labels for name, each in found.items()},
        "firing": {name: each.firing_rate for name, each in found.items()},
        "replicates": replicates,
        "grouped": dissect_replicates(sets, grouped, replicates=20, seed=4)[1],
    }


def main(rank: int, world: int, folder: Path) -> None:
    torch.set_num_threads(1)
    if world > 1:
        meeting = f"file://{folder / f'meeting{world}'}"
        dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world)
    pixels = torch.randn(PIXELS, FEATURES, generator=torch.Generator().manual_seed(0)).double()
    own = pixels.tensor_split(world)[rank]
    moments, means = RunningMoments(FEATURES, full=True), RunningMeans(["loss"])
    moments.update(own)
    means.update({"loss": torch.tensor(3.0)}, PIXELS)
    add_up = global_sum if world > 1 else None
    sent = torch.tensor([rank + 1.0])
    broadcast([sent])
    results = {
        "fused": objective(own, world, fused=True),
        "plain": objective(own, world, fused=False),
        "moments": moments.compute()._asdict(),
        "means": means.compute(),
        "quantiles": [
            column_quantiles(own.split(5), share, PIXELS, memory, add_up=add_up)
            for share in (0.0, 0.1, 0.9)
            for memory in (2**20, 1)
        ],
        "criteria": criteria(PixelSums(*map(global_sum, pixel_sums(own))))._asdict(),
        "dissection": dissection(store_of(folder, rank + 10 * world).share()),
        "sum": global_sum(torch.tensor([rank, 1])),
        "sizes": sizes(len(own), torch.device("cpu")),
        "broadcast": sent,
        "text": shared_text(f"from {rank}"),
    }
    torch.save(results, folder / f"{world}-{rank}.pt")
    if world > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
