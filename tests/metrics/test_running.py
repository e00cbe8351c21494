"""Running moments and means equal those of all pixels at once."""

import pytest
import torch

from uibe.functional.moments import pixel_moments
from uibe.metrics.running import RunningMeans, RunningMoments


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("sizes", [(1, 39), (10, 10, 20), (40,)])
def test_equals_the_moments_of_everything(full: bool, sizes: tuple[int, ...]) -> None:
    pixels = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)) + 5
    moments = RunningMoments(3, full)
    for part in pixels.split(sizes):
        moments.update(part)
    for found, expected in zip(moments.compute(), pixel_moments(pixels, full), strict=True):
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_reset_forgets_everything() -> None:
    moments = RunningMoments(2)
    moments.update(torch.full((5, 2), 9.0))
    moments.reset()
    moments.update(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    found = moments.compute()
    assert (found.num_pixels.item(), found.total.tolist(), found.squares.tolist()) == (2, [4, 6], [10, 20])


@pytest.mark.parametrize("sizes", [(1, 39), (10, 10, 20), (40,)])
def test_means_weigh_batches_by_their_pixels(sizes: tuple[int, ...]) -> None:
    values = torch.randn(40, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    means = RunningMeans(["one", "other"])
    for part in values.split(sizes):
        one, other = part.mean(0)
        means.update({"other": other, "one": one, "ignored": one}, len(part))
    found = means.compute()
    assert list(found) == ["one", "other"]
    torch.testing.assert_close(torch.stack(list(found.values())), values.mean(0), rtol=1e-12, atol=1e-12)
    means.reset()
    means.update({"one": torch.tensor(3.0), "other": torch.tensor(4)}, 2)
    assert [float(mean) for mean in means.compute().values()] == [3.0, 4.0]


def test_means_keep_no_graph() -> None:
    means = RunningMeans(["one"])
    means.update({"one": torch.tensor(1.0, requires_grad=True) * 2}, 1)
    assert not means.compute()["one"].requires_grad
