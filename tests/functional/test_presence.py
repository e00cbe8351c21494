"""More than on average, or less: a planted picture, the definition pixel by pixel, and invariances."""

import pytest
import torch
from torch import Tensor

from uibe.functional.explanation import Coordinates, coordinates, split_prediction
from uibe.functional.orthogonal import random_rotation
from uibe.functional.presence import levels, split_by_level


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_levels_equal_the_definition() -> None:
    features, basis = normal(2, 5, 3, 4), coordinates(normal(3, 5, seed=1), normal(5, seed=2))
    found = levels(features, basis)
    assert found.shape == (2, 3)
    for n, i in [(0, 0), (1, 2)]:
        pixels = [features[n, :, row, column] for row in range(3) for column in range(4)]
        terms = [float(basis.directions[i] @ (pixel - basis.mean)) for pixel in pixels]
        assert found[n, i].item() == pytest.approx(sum(terms) / 12)


def test_levels_have_the_type_of_the_basis() -> None:
    features = torch.ones(1, 2, 1, 1)
    for dtype in (torch.float32, torch.float64):
        basis = Coordinates(*(each.to(dtype) for each in (torch.eye(2), torch.eye(2), torch.zeros(2))))
        assert levels(features, basis).dtype == dtype
    small = torch.tensor([1.0, 2**-40]).view(1, 1, 1, 2)
    exact = Coordinates(*(torch.full(size, 1.0, dtype=torch.float64) for size in ((1, 1), (1, 1), (1,))))
    assert levels(small, exact).item() == -0.5 + 2**-41  # pooled in the basis's type, not in float32


def test_a_planted_missing_concept_adds_from_below() -> None:
    # the class loses from channel 0 and gains from channel 1; both are 1 on average. The picture has none of
    # channel 0 (which helps), more of channel 1 (which helps), and less of channel 2 (which the class wants)
    weight = torch.tensor([[-2.0, 3.0, 4.0]], dtype=torch.float64)
    features = torch.tensor([0.0, 2.0, 0.5], dtype=torch.float64).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    basis = coordinates(torch.eye(3), torch.ones(3))
    parts = split_prediction(lambda x: x.mean((2, 3)) @ weight.T, features, [0], basis)
    found = split_by_level(parts.contributions[0], levels(features, basis)[0])
    assert found.above.tolist() == [[0.0, 3.0, 0.0]]
    assert found.below.tolist() == [[2.0, 0.0, -2.0]]


def test_both_parts_add_up_to_the_contributions() -> None:
    contributions, level = normal(4, 6), normal(6, seed=1)
    level[2] = 0.0  # at the mean: neither less nor more, and counted once
    found = split_by_level(contributions, level)
    torch.testing.assert_close(found.above + found.below, contributions, rtol=0, atol=0)
    assert (found.above[:, 2] == contributions[:, 2]).all()
    assert ((found.above == 0) | (found.below == 0)).all()


def test_the_mean_feature_has_no_level() -> None:
    mean = normal(5, seed=3)
    basis = coordinates(random_rotation(5, torch.Generator().manual_seed(0)), mean)
    found = levels(mean.view(1, 5, 1, 1).expand(1, 5, 2, 3), basis)
    assert found.abs().max() < 1e-12


def test_a_direction_turned_round_swaps_the_sides_and_nothing_else() -> None:
    features, weight = normal(1, 4, 2, 2), normal(3, 4, seed=5)
    directions, mean = normal(4, 4, seed=6), normal(4, seed=7)

    def split(basis: Coordinates) -> tuple[Tensor, Tensor]:
        parts = split_prediction(lambda x: x.mean((2, 3)) @ weight.T, features, [0, 1, 2], basis)
        return split_by_level(parts.contributions[0], levels(features, basis)[0])

    above, below = split(coordinates(directions, mean))
    turned_above, turned_below = split(coordinates(-directions, mean))
    torch.testing.assert_close(turned_above, below)
    torch.testing.assert_close(turned_below, above)


def test_places_make_no_difference_to_levels() -> None:
    features, basis = normal(1, 5, 2, 6), coordinates(normal(3, 5, seed=1), normal(5, seed=2))
    shuffled = features.flatten(2)[:, :, torch.randperm(12, generator=torch.Generator().manual_seed(0))]
    torch.testing.assert_close(levels(shuffled.view(1, 5, 3, 4), basis), levels(features, basis))
