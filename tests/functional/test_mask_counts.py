"""Counts from the ends of masks equal those from every pixel, bit for bit, whatever the rounding."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.functional.cases import random_labels
from tests.references import masks as reference
from uibe.functional import mask_counts as module
from uibe.functional.bilinear import ROUNDING, upsample
from uibe.functional.label_counts import label_counts
from uibe.functional.mask_counts import mask_counts

# what the values and the thresholds of six maps are made of
KINDS = [
    "random",
    "relu at zero",
    "relu of any magnitude at zero",
    "plateaus at the threshold",
    "magnitudes",
    "far from zero",
    "a source pixel's value",
    "an upsampled pixel's value",
    "an upsampled pixel's value on a slope",
    "infinite thresholds",
    "median of all",
]
MAGNITUDES = torch.tensor([1e-42, 1e-30, 1e-10, 1e10, 1e30, 3e38])
SIZES = [
    ((7, 7), (112, 112)),
    ((13, 13), (112, 112)),
    ((14, 7), (50, 33)),
    ((7, 7), (21, 35)),
    ((1, 1), (16, 9)),
    ((1, 6), (5, 48)),
    ((8, 8), (16, 16)),
    ((6, 5), (24, 3)),
    ((5, 6), (3, 96)),
    ((56, 56), (48, 48)),
    ((40, 40), (113, 97)),
    ((9, 9), (15, 25)),
    ((4, 4), (4, 4)),
]


def adversarial(
    kind: str, generator: torch.Generator, source: tuple[int, int], target: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Six maps and thresholds."""
    maps, thresholds = torch.randn(6, *source, generator=generator), torch.randn(6, generator=generator) / 2
    magnitudes = torch.tensor([1e-44, 1e-42, 1e-10, 1.0, 1e10])
    magnitudes = magnitudes[torch.randint(5, maps.shape, generator=generator)]
    infinite = torch.tensor([torch.inf, -torch.inf, -100.0, 100.0, -0.0, 0.0])
    pick = torch.randint(source[0] * source[1], (6, 1), generator=generator)
    scaled, pixels, slope = maps * MAGNITUDES[:, None, None], upsample(maps, target).flatten(1), maps.sign()
    slope_pixels = upsample(slope, target).flatten(1)
    near = (slope_pixels - 0.1).abs().argmin(1, keepdim=True)
    cases = {
        "random": (maps, thresholds),
        "relu at zero": (maps.relu(), torch.zeros(6)),
        "relu of any magnitude at zero": (maps.relu() * magnitudes, torch.zeros(6)),
        "plateaus at the threshold": ((2 * maps).round() / 3, (2 * thresholds).round() / 3),
        "magnitudes": (scaled, scaled.flatten(1).gather(1, pick)[:, 0]),
        "far from zero": (maps + 1000, thresholds + 1000),
        "a source pixel's value": (maps, maps.flatten(1).gather(1, pick)[:, 0]),
        "an upsampled pixel's value": (maps, pixels[:, int(pick[0]) % pixels.shape[1]]),
        "an upsampled pixel's value on a slope": (slope, slope_pixels.gather(1, near)[:, 0]),
        "infinite thresholds": (maps, infinite),
        "median of all": (maps, maps.median().expand(6)),
    }
    return cases[kind]


def assert_same_counts(kind: str, seed: int, source: tuple[int, int], target: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(seed)
    planes = int(torch.randint(3, (), generator=generator))
    labels = [random_labels(generator, target, planes) for _ in range(2)]
    maps, thresholds = adversarial(kind, generator, source, target)
    images = torch.tensor([0, 0, 1, 0, 1, 1])
    [table] = label_counts(labels)
    found = mask_counts(maps, thresholds, images, table)
    assert found.dtype == torch.int64
    expected = reference.mask_counts(maps, thresholds, images.tolist(), labels)
    for counts, each in zip(found.tolist(), expected, strict=True):
        assert counts == each + [0] * (len(counts) - len(each))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("source", "target"), SIZES)
def test_equals_counting_pixels(kind: str, source: tuple[int, int], target: tuple[int, int]) -> None:
    for seed in range(3):
        assert_same_counts(kind, seed, source, target)


@settings(deadline=None, max_examples=150)
@given(
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 10**6),
    source=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    target=st.tuples(st.integers(1, 70), st.integers(1, 70)),
)
def test_equals_counting_pixels_at_any_size(
    kind: str, seed: int, source: tuple[int, int], target: tuple[int, int]
) -> None:
    assert_same_counts(kind, seed, source, target)


def unsure_maps(maps: Tensor, thresholds: Tensor, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many maps are counted from their pixels."""
    counted = [0]
    dense = module._dense_counts

    def counting(maps: Tensor, *others: Tensor) -> Tensor:
        counted[0] += len(maps)
        return dense(maps, *others)  # type: ignore[arg-type]

    generator = torch.Generator().manual_seed(0)
    [table] = label_counts([random_labels(generator, (112, 112))])
    with monkeypatch.context() as patch:
        patch.setattr(module, "_dense_counts", counting)
        mask_counts(maps, thresholds, torch.zeros(len(maps), dtype=torch.int64), table)
    return counted[0]


def test_few_maps_need_their_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = torch.randn(500, 7, 7, generator=torch.Generator().manual_seed(0))
    assert unsure_maps(maps, torch.full((500,), 0.7), monkeypatch) < 25


def test_a_map_of_large_values_does_not_make_others_unsure(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = torch.randn(500, 7, 7, generator=torch.Generator().manual_seed(0))
    maps[0] *= 1e11
    assert unsure_maps(maps, torch.full((500,), 0.7), monkeypatch) < 25


def test_zeros_after_a_relu_are_not_close_to_a_threshold_of_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = (torch.randn(500, 7, 7, generator=torch.Generator().manual_seed(0)) - 1).relu()
    assert unsure_maps(maps, torch.zeros(500), monkeypatch) == 0


def test_values_at_the_threshold_are_counted_from_the_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unsure_maps(torch.full((3, 7, 7), 0.3), torch.full((3,), 0.3), monkeypatch) == 3


def test_other_types_are_counted_from_the_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    labels, num = [random_labels(generator, (28, 28))], 3 * module._DENSE - 1
    maps, thresholds = torch.randn(num, 7, 7, generator=generator).double(), torch.zeros(num).double()
    found = mask_counts(maps, thresholds, torch.zeros(num, dtype=torch.int64), *label_counts(labels))
    assert found.tolist() == reference.mask_counts(maps, thresholds, [0] * num, labels)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_masks_so_large_that_labels_are_summed_in_float64_are_counted(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = [random_labels(generator, (257, 257))]
    [table] = label_counts(labels)
    maps, thresholds = torch.randn(3, 5, 5, generator=generator).to(dtype), torch.zeros(3, dtype=dtype)
    assert table.table.dtype == torch.float64
    found = mask_counts(maps, thresholds, torch.zeros(3, dtype=torch.int64), table)
    assert found.tolist() == reference.mask_counts(maps, thresholds, [0] * 3, labels)


@pytest.mark.parametrize(
    ("source", "target"), [((7, 7), (112, 112)), ((14, 28), (56, 56)), ((1, 5), (9, 10))]
)
def test_upsampling_rounds_no_more_than_is_allowed_for(
    source: tuple[int, int], target: tuple[int, int]
) -> None:
    # at ratios that are powers of two, where float32 holds every position; `rows` measures the other errors
    maps = torch.randn(300, *source, generator=torch.Generator().manual_seed(0)) + 5
    error = (upsample(maps, target) - upsample(maps.double(), target)).abs().flatten(1).amax(1)
    assert bool((error <= 5.5 * ROUNDING * maps.abs().flatten(1).amax(1)).all())
