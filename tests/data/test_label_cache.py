"""Labels from memory are those of the files, read once and within the room there is."""

import shutil
from itertools import chain
from pathlib import Path

import pytest
import torch

from uibe.data.broden import BrodenDataset
from uibe.data.index import BrodenIndex
from uibe.data.label_cache import LabelCache
from uibe.errors import DataError

BATCHES = [[2, 0], [1], [3]]


def dataset(root: Path) -> BrodenDataset:
    return BrodenDataset(BrodenIndex.read(root))


@pytest.mark.parametrize("memory", [0, 30, 100, 10**6])
def test_labels_are_those_of_the_data_set_in_every_pass(broden_root: Path, memory: int) -> None:
    data = dataset(broden_root)
    cache = LabelCache(data, memory)
    for _ in range(2):
        for rows, found in zip(BATCHES, cache.batches(BATCHES), strict=True):
            for row, labels in zip(rows, found, strict=True):
                assert labels.planes.dtype == torch.uint8
                for part, expected in zip(labels, data.labels(row), strict=True):
                    assert torch.equal(part.long(), expected.long())


def test_a_second_pass_reads_no_file(broden_root: Path) -> None:
    cache = LabelCache(dataset(broden_root))
    first = list(cache.batches(BATCHES))
    shutil.rmtree(broden_root / "images")
    assert [[id(labels) for labels in batch] for batch in cache.batches(BATCHES)] == [
        [id(labels) for labels in batch] for batch in first
    ]


def test_what_exceeds_half_the_memory_is_kept_compressed(broden_root: Path) -> None:
    data = dataset(broden_root)
    sizes = [data.labels(row).planes.numel() for row in range(4)]
    order = sorted(range(4), key=sizes.__getitem__, reverse=True)  # row 2 has no planes, only scenes
    cache = LabelCache(data, memory=2 * sizes[order[0]])
    first = list(chain(*cache.batches([order])))
    shutil.rmtree(broden_root / "images")
    again = list(chain(*cache.batches([order])))
    assert [one is other for one, other in zip(first, again, strict=True)] == [True, False, False, True]
    for one, other in zip(first, again, strict=True):
        assert all(torch.equal(part, same) for part, same in zip(one, other, strict=True))


def test_what_exceeds_the_memory_is_read_again(broden_root: Path) -> None:
    cache = LabelCache(dataset(broden_root), memory=0)
    list(cache.batches([[0]]))
    shutil.rmtree(broden_root / "images")
    with pytest.raises(DataError, match="no such file"):
        list(cache.batches([[0]]))


def test_a_damaged_mask_is_named(broden_root: Path) -> None:
    data = dataset(broden_root)
    mask = broden_root / "images" / data.index.rows[0].cells[1].masks[0]
    mask.write_bytes(mask.read_bytes()[:40])
    with pytest.raises(DataError, match="cannot be decoded"):
        list(LabelCache(data).batches(BATCHES))


def test_a_data_set_sent_elsewhere_keeps_its_codes(broden_root: Path) -> None:
    # to send a tensor to another process moves it into shared memory, away from under any view
    data = dataset(broden_root)
    expected = data.labels(0).planes
    data.index.labels.codes.share_memory_()
    assert torch.equal(data.labels(0).planes, expected)
