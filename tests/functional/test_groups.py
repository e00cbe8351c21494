"""Groups of images share their draws: weights by hand, and intervals that cover where images depend."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from uibe.functional.groups import Grouping, effective_groups, group_weights
from uibe.functional.intervals import Interval, interval, poisson_weights, replicate_iou


def test_images_of_a_group_share_the_draw_of_their_group() -> None:
    groups = torch.tensor([0, 1, 0, 2, 1, 1])
    drawn = poisson_weights(3, 40, seed=5)
    weights = group_weights(groups, 40, seed=5)
    assert weights.dtype == torch.uint8
    for place, group in enumerate(groups.tolist()):
        assert torch.equal(weights[:, place], drawn[:, group])
    assert not torch.equal(weights[:, 0], weights[:, 1])
    assert bool((weights[0] == 1).all())


@pytest.mark.parametrize(("images", "replicates"), [(0, 3), (1, 3), (334, 200)])
def test_images_that_are_groups_of_their_own_draw_as_without_groups(images: int, replicates: int) -> None:
    weights = group_weights(torch.arange(images), replicates, seed=3)
    assert torch.equal(weights, poisson_weights(images, replicates, seed=3))


def test_iou_of_groups_by_hand() -> None:
    # a group of two images, (1, 3) and (2, 2) of intersection and union, and an image (0, 5)
    weights = torch.tensor([[1, 1, 1], [2, 2, 0], [0, 0, 3]])
    parts = [torch.tensor(counts)[:, None] for counts in ([1, 2, 0], [2, 2, 1], [2, 2, 4])]
    found = replicate_iou(*(weights @ each for each in parts), torch.tensor([0]))
    assert found[:, 0].tolist() == [3 / 10, 6 / 10, 0.0]
    assert interval(found[:, 0]).low == pytest.approx(2 * 0.3 - 0.975 * 0.6)
    # whatever is drawn of the three images, those of a group come equally often
    drawn = group_weights(torch.tensor([0, 0, 1]), 500, seed=0).long()
    iou = replicate_iou(*(drawn @ each for each in parts), torch.tensor([0]))[:, 0]
    first, last = drawn[:, 0], drawn[:, 2]
    expected = 3 * first / (5 * first + 5 * last).clamp(min=1)
    assert iou.tolist() == pytest.approx(expected.tolist())


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([1] * 7, 7.0), ([5] * 3, 3.0), ([3, 1], 16 / 10), ([171, 101, 62], 111556 / 43286)],
)
def test_effective_number_of_groups(sizes: list[int], expected: float) -> None:
    groups = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    assert effective_groups(groups) == pytest.approx(expected, abs=1e-4)


def test_summary_counts_groups_and_single_images() -> None:
    found = Grouping.of("x", torch.tensor([0, 1, 1, 2, 3, 3, 3, 4, 4, 5, 5]))
    assert (found.groups, found.single) == (6, 2)
    assert found.effective == pytest.approx(121 / (1 + 4 + 1 + 9 + 4 + 4))


FILMS, FRAMES = 60, 12
GROUPS = torch.arange(FILMS).repeat_interleave(FRAMES)


def films(rng: np.random.Generator, number: int) -> list[Tensor]:
    """Counts of a detector whose quality depends on the film, so that frames resemble each other."""
    film = rng.beta(2, 2, number).repeat(FRAMES)
    labelled = rng.integers(50, 150, number * FRAMES)
    inter = np.round(labelled * np.clip(film + rng.normal(0, 0.1, number * FRAMES), 0, 1))
    activated = inter + rng.integers(0, 30, number * FRAMES)
    return [torch.from_numpy(each).double()[:, None] for each in (inter, activated, labelled)]


def scored(counts: list[Tensor], weights: Tensor) -> Interval:
    iou = replicate_iou(*((weights.double() @ each).long() for each in counts), torch.tensor([0]))
    return interval(iou[:, 0])


def test_intervals_over_groups_cover_where_those_over_images_do_not() -> None:
    rng = np.random.default_rng(0)
    truth = scored(films(rng, 20_000), torch.ones(2, 20_000 * FRAMES)).value
    runs = 200
    covered, widths, values = np.zeros(2), np.zeros(2), []
    for run in range(runs):
        counts = films(rng, FILMS)
        weights = poisson_weights(len(GROUPS), 200, seed=run), group_weights(GROUPS, 200, seed=run)
        both = [scored(counts, each) for each in weights]
        covered += [each.low <= truth <= each.high for each in both]
        widths += [(each.high - each.low) / runs for each in both]
        values.append(both[1].value)
    by_image, by_group = covered / runs
    # three standard deviations of a share of 200 at 0.95 are 0.046
    assert abs(by_group - 0.95) < 0.05, by_group
    assert by_image < 0.6, by_image
    # 95% of a normal spread are 3.92 standard deviations wide
    assert widths[1] == pytest.approx(3.92 * float(np.std(values)), rel=0.15)
    assert widths[0] < 0.6 * widths[1]
    assert math.isfinite(truth)
