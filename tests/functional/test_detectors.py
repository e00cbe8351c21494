"""Logits, projections and the folding of the standardization."""

import numpy as np
import pytest
import torch
from torch import Tensor

from uibe.functional.detectors import Detectors, check_finite, fold, logits, projection_maps


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_logits_equal_the_definition() -> None:
    x, w, b = normal(5, 3), normal(4, 3, seed=1), normal(4, seed=2)
    expected = [[(sum(x[p] * w[i]) - b[i]).item() / 0.5 for i in range(4)] for p in range(5)]
    np.testing.assert_allclose(logits(x, w, b, torch.tensor(0.5)), expected, atol=1e-12)


def test_logits_are_positive_exactly_where_the_detector_fires() -> None:
    # w = (1, 0), b = 1: at the threshold itself the logit is 0 and the detector does not fire
    x = torch.tensor([[0.0, 9.0], [1.0, 9.0], [2.0, -9.0]])
    found = logits(x, torch.tensor([[1.0, 0.0]]), torch.ones(1), torch.tensor(0.25))
    assert found.tolist() == [[-4.0], [0.0], [4.0]]


@pytest.mark.parametrize("matrix", [False, True])
def test_folded_detectors_say_the_same_of_raw_pixels(matrix: bool) -> None:
    mean, scale = normal(3), normal(3, seed=1).abs() + 0.1
    transform = normal(3, 3, seed=2)
    transform = transform @ transform.T if matrix else scale
    standardized = Detectors(normal(4, 3, seed=3), normal(4, seed=4))
    x = normal(6, 3, seed=5)
    z = (x - mean) @ transform if matrix else (x - mean) * transform
    raw = fold(standardized, mean, transform)
    torch.testing.assert_close(
        x @ raw.directions.T - raw.thresholds, z @ standardized.directions.T - standardized.thresholds
    )


def test_fold_by_hand() -> None:
    # z = ((x1 - 1) / 2, (x2 - 2) * 3); 5 z1 + z2 > 7  <=>  2.5 x1 + 3 x2 > 7 + 2.5 + 6
    folded = fold(
        Detectors(torch.tensor([[5.0, 1.0]]), torch.tensor([7.0])),
        mean=torch.tensor([1.0, 2.0]),
        transform=torch.tensor([0.5, 3.0]),
    )
    assert folded.directions.tolist() == [[2.5, 3.0]]
    assert folded.thresholds.tolist() == [15.5]


def test_projection_maps_project_every_pixel() -> None:
    features, directions = normal(2, 3, 4, 5), normal(6, 3, seed=1)
    expected = np.einsum("ndhw,id->nihw", features.numpy(), directions.numpy())
    np.testing.assert_allclose(projection_maps(features, directions), expected, atol=1e-12)


def test_an_image_projects_alike_in_any_batch() -> None:
    features, directions = normal(9, 16, 7, 5).float(), normal(16, 16, seed=1).float()
    whole = projection_maps(features, directions)
    for size in (1, 4):
        parts = [projection_maps(part, directions) for part in features.split(size)]
        assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -torch.inf])
def test_only_finite_numbers_pass(wrong: float) -> None:
    tensor = torch.tensor([[1.0, -2.0]])
    assert check_finite("directions", tensor) is tensor
    tensor[0, 1] = wrong
    with pytest.raises(ValueError, match=r"^directions: expected finite numbers$"):
        check_finite("directions", tensor)
