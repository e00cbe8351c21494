"""Counts from where masks begin and end are those of the upsampled masks, bit for bit, on adverse inputs."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.functional.test_tally import image_labels
from tests.references import dense_tally
from tests.references.tally import ImageTruth
from uibe.data.broden import ImageLabels
from uibe.functional.label_counts import label_counts
from uibe.functional.tally import Tally, empty_tally, tally_batch

CATEGORIES = [0, 0, 0, 1, 1]
SIZES = [
    ((7, 7), (112, 112)),
    ((7, 7), (56, 56)),
    ((13, 13), (112, 112)),
    ((14, 7), (50, 33)),
    ((5, 3), (20, 17)),
    ((1, 1), (9, 7)),
    ((1, 4), (8, 31)),
    ((56, 56), (48, 48)),
    ((6, 6), (6, 6)),
]
KINDS = ["normal", "order statistic", "relu at zero", "plateaus", "corners", "huge", "tiny", "mixed scales"]


def labels_of(size: tuple[int, int], generator: torch.Generator) -> ImageLabels:
    planes = torch.randint(0, 5, (2, *size), generator=generator)
    return image_labels(planes, [4], [True, bool(torch.rand((), generator=generator) < 0.7)])


def adverse(
    kind: str, images: int, size: tuple[int, int], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Maps `(N, 6, h, w)` and thresholds that make rounding matter."""
    maps = torch.randn(images, 6, *size, generator=generator)
    pixels = maps.transpose(0, 1).flatten(1)
    middle = pixels.median(1).values
    if kind == "normal":
        return maps, torch.linspace(-1, 2, 6)
    if kind == "order statistic":
        return maps, middle
    if kind == "relu at zero":
        return maps.relu(), torch.zeros(6)
    if kind == "plateaus":
        return (maps * 2).round() / 2, torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0, 0.25])
    if kind == "corners":
        flip = torch.rand(maps.shape, generator=generator) < 0.5
        return torch.where(flip, middle[:, None, None], maps), middle
    if kind == "mixed scales":
        return maps * 10.0 ** torch.randint(-6, 7, maps.shape, generator=generator), middle * 1e-3
    scale = {"huge": 1e30, "tiny": 1e-30}[kind]
    return maps * scale, middle * scale


def counted(maps: Tensor, thresholds: Tensor, labels: Sequence[ImageLabels]) -> Tally:
    tally = empty_tally(len(thresholds), len(CATEGORIES), 2)
    for counts in label_counts(labels):
        tally_batch(tally, maps[counts.images], thresholds, counts, torch.tensor(CATEGORIES))
    return tally


def assert_same(maps: Tensor, thresholds: Tensor, labels: Sequence[ImageLabels]) -> None:
    truth = [
        ImageTruth(scores.numpy(), each.planes.numpy(), each.image_wide.tolist(), each.annotated.tolist())
        for scores, each in zip(maps, labels, strict=True)
    ]
    expected = dense_tally.tally(truth, thresholds, CATEGORIES)
    for name, found, wanted in zip(Tally._fields, counted(maps, thresholds, labels), expected, strict=True):
        assert torch.equal(found, wanted), name


@pytest.mark.parametrize(("size", "target"), SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_counts_are_those_of_the_upsampled_masks(
    kind: str, size: tuple[int, int], target: tuple[int, int]
) -> None:
    generator = torch.Generator().manual_seed(0)
    maps, thresholds = adverse(kind, 6, size, generator)
    assert_same(maps, thresholds, [labels_of(target, generator) for _ in maps])


@settings(deadline=None, max_examples=80)
@given(
    kind=st.sampled_from(KINDS),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    target=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    seed=st.integers(0, 10**6),
)
def test_of_any_size(kind: str, size: tuple[int, int], target: tuple[int, int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    maps, thresholds = adverse(kind, 2, size, generator)
    assert_same(maps, thresholds, [labels_of(target, generator) for _ in maps])


@pytest.mark.parametrize("threshold", [float("inf"), -float("inf"), 3.4e38, -3.4e38])
def test_at_extreme_thresholds(threshold: float) -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(3, 2, 7, 7, generator=generator)
    labels = [labels_of((28, 28), generator) for _ in maps]
    assert_same(maps, torch.full((2,), threshold), labels)


def test_masks_of_several_sizes_in_a_batch() -> None:
    generator = torch.Generator().manual_seed(0)
    maps, thresholds = adverse("order statistic", 5, (7, 7), generator)
    sizes = [(28, 28), (56, 28), (28, 28), (14, 90), (56, 28)]
    assert_same(maps, thresholds, [labels_of(size, generator) for size in sizes])
