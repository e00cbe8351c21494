"""What is fuzzed: each kind of file with its mutations and its judge."""

import shutil
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from random import Random

import torch
from torch import Tensor

from datamodules import StreamingBrodenDataModule
from tests.fuzz.checkpoints import checkpoints, folders, runs, weights
from tests.fuzz.configs import arguments, configs
from tests.fuzz.csv_mutations import CSV_MUTATIONS
from tests.fuzz.file_mutations import byte_mutations, copy_mutation, json_mutation, swap_mutation
from tests.fuzz.folders import write_folder
from tests.fuzz.harness import Kind, Mutation, Wrong
from tests.fuzz.picture_mutations import PICTURE_MUTATIONS
from tests.fuzz.reading import Reader
from uibe.data.cache import CacheKey, FeatureCache, fill_shards
from uibe.data.convert import convert
from uibe.data.shard_index import sealed

__all__ = ["KINDS"]

_KEY = CacheKey(layer="features.7", dtype="float32")
_OTHER = CacheKey(layer="features.8", dtype="float32")
_FEATURES = torch.arange(13.0 * 30).view(13, 5, 3, 2)  # in shards of 4


def _tables(scratch: Path) -> Kind:
    return Kind("tables", write_folder(scratch / "pristine"), CSV_MUTATIONS, Reader(scratch).judge)


def _pictures(scratch: Path) -> Kind:
    return Kind("pictures", write_folder(scratch / "pristine"), PICTURE_MUTATIONS, Reader(scratch).judge)


def _skipped(scratch: Path) -> Kind:
    """Pictures again, of which damaged ones may be left out: nothing is refused unless a split is gone."""
    mutations = [mutation._replace(verdict="either") for mutation in PICTURE_MUTATIONS]
    return Kind("skipped", write_folder(scratch / "pristine"), mutations, Reader(scratch).judge_skipping)


def _fill(folder: Path, key: CacheKey, shift: float) -> None:
    def features_of(parts: Sequence[range]) -> Generator[Tensor]:
        yield from (_FEATURES[rows.start : rows.stop] + shift for rows in parts)

    fill_shards(folder, key, (13, 3, 2, 5), features_of, images_per_shard=4)


def _read_cache(folder: Path, draw: Random) -> None:
    cache = FeatureCache.open(folder, _KEY)
    rows = draw.sample(range(13), 13)
    pixels = _FEATURES.permute(0, 2, 3, 1).reshape(-1, 5)
    if draw.random() < 0.5 and not cache.pixels(range(78)).equal(pixels):
        raise Wrong("other pixels")
    if not cache.features(rows).equal(_FEATURES[rows]):
        raise Wrong("other features")


def _caches(scratch: Path) -> Kind:
    """Two caches that differ in the layer alone; the first one is read."""
    pristine = scratch / "pristine"
    _fill(pristine, _KEY, 0.0)
    _fill(pristine, _OTHER, 0.5)
    own = f"{_KEY.digest}/"
    shards = byte_mutations(f"{own}features-*.npy", strict=["bits of a byte", "more bytes"])
    meta = byte_mutations(f"{own}meta.json", loose=["lost bytes"])
    others = [swap_mutation(f"{own}features-*.npy"), copy_mutation(f"{own}features-*.npy"), _foreign()]
    others += [json_mutation(f"{own}meta.json")] * 6
    # nothing that happens beside the files that are read may matter
    beside = [*byte_mutations(f"{_OTHER.digest}/*.npy")[:5], _elsewhere(own), _leftover(own)]
    others += [mutation._replace(verdict="accepted") for mutation in beside]
    return Kind("caches", pristine, [*shards, *meta, *others], _read_cache)


def _foreign() -> Mutation:
    """A shard of the other cache in the place of its like."""

    def apply(root: Path, draw: Random) -> Sequence[str]:
        name = f"features-{draw.randrange(4):05d}.npy"
        shutil.copy(root / _OTHER.digest / name, root / _KEY.digest / name)
        return [name]

    return Mutation("a shard of another cache", "refused", apply)


def _elsewhere(own: str) -> Mutation:
    """A shard on another disk, and a link to it."""

    def apply(root: Path, draw: Random) -> Sequence[str]:
        path = root / own / f"features-{draw.randrange(4):05d}.npy"
        path.symlink_to(path.rename(root / path.name).resolve())
        return [path.name]

    return Mutation("a link to the shard elsewhere", "accepted", apply)


def _leftover(own: str) -> Mutation:
    """What a writer that was killed leaves."""

    def apply(root: Path, draw: Random) -> Sequence[str]:
        path = root / own / f".features-{draw.randrange(4):05d}.npy.{draw.randrange(99)}.tmp"
        path.write_bytes(draw.randbytes(99))
        return [path.name]

    return Mutation("a leftover", "accepted", apply)


def _shards(scratch: Path) -> Kind:
    """Shards of the sound folder, compared with the folder itself."""
    reader, root = Reader(scratch), scratch / "sound"
    pristine = convert(root, scratch / "pristine", shard_megabytes=0.005, block_bytes=2_000)

    def judge(folder: Path, draw: Random) -> None:
        cached = draw.random() < 0.5
        cache = str(folder.parent / f"{folder.name}-cache")
        data = StreamingBrodenDataModule(root=str(folder), cache=cached, cache_dir=cache, batch_size=3)
        reader.compare(reader.open(data), root)

    index = byte_mutations("shards.json", loose=["lost bytes"])
    tar = byte_mutations("*.tar", loose=["bits of a byte", "cut off", "lost bytes"])
    others = byte_mutations("*.csv", strict=["bits of a byte", "more bytes"])
    digests = byte_mutations("digests.bin", strict=["bits of a byte", "more bytes"])
    edits = [json_mutation("shards.json"), json_mutation("shards.json", sealed)]
    swaps = [swap_mutation("*.tar"), swap_mutation("*.csv")]
    return Kind("shards", pristine, [*index, *tar, *others, *digests, *edits * 4, *swaps], judge)


KINDS: dict[str, Callable[[Path], Kind]] = {
    "tables": _tables,
    "pictures": _pictures,
    "skipped": _skipped,
    "caches": _caches,
    "shards": _shards,
    "checkpoints": checkpoints,
    "weights": weights,
    "folders": folders,
    "configs": configs,
    "arguments": arguments,
    "runs": runs,
}
"""By name: each writes what it needs below a folder."""
