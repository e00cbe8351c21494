"""Thresholds for frozen directions: UIBE's objective, and nothing else, moves them."""

import inspect
import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from lightning_modules.basis import BasisModule
from tests.peers.planted import PixelFeatures
from uibe.data.planted import Planted, planted_codes
from uibe.errors import ConfigError, MismatchError
from uibe.functional.losses import LossWeights, loss_sums, loss_terms, total_loss
from uibe.peers import thresholds as module
from uibe.peers.thresholds import OBJECTIVE, learn_thresholds

D, P = 16, 3200


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def planted() -> Planted:
    return planted_codes(P, D, noise=0.05, generator=seeded())


@pytest.fixture
def rotation(planted: Planted) -> Tensor:
    return planted.directions


@pytest.fixture
def data(planted: Planted) -> PixelFeatures:
    return PixelFeatures(planted.pixels + 4)


def pixels_of(data: PixelFeatures) -> Tensor:
    return data.features.permute(0, 2, 3, 1).flatten(0, 2)


def reference(data: PixelFeatures, directions: Tensor, steps: int, lr: float) -> Tensor:
    """The objective written out in float64 with plain losses, all pixels at once, Adam by hand."""
    pixels, w = pixels_of(data).double(), directions.double()
    mean, deviation = pixels.mean(0), pixels.std(0, correction=0)
    norms = (w * deviation).norm(dim=1)
    projections = (pixels - mean) / deviation @ (w * deviation / norms[:, None]).T
    keep = int(min(0.05, 16 / len(w)) * len(pixels)) + 1
    values = [projections.sort(0, descending=True).values[keep - 1], torch.tensor(math.log(0.3)).double()]
    first, second = [0.0, 0.0], [0.0, 0.0]
    for step in range(1, steps + 1):
        b, log_margin = (value.clone().requires_grad_() for value in values)
        sums = loss_sums((projections - b) / log_margin.exp(), gamma=2.0)
        loss = total_loss(loss_terms(sums, log_margin.exp(), tau=0.9), LossWeights(0.5, 2.8, 1.0, 0.6))
        rate = lr * (1 + math.cos(math.pi * (step - 1) / steps)) / 2
        for i, slope in enumerate(torch.autograd.grad(loss, [b, log_margin])):
            first[i], second[i] = 0.9 * first[i] + 0.1 * slope, 0.999 * second[i] + 0.001 * slope**2
            corrected = (second[i] / (1 - 0.999**step)) ** 0.5 + 1e-8
            values[i] = values[i] - rate * first[i] / (1 - 0.9**step) / corrected
    return norms * values[0] + w @ mean


@pytest.mark.parametrize("steps", [1, 5])
def test_steps_equal_those_of_the_objective_written_out(
    steps: int, data: PixelFeatures, rotation: Tensor
) -> None:
    oblique = rotation[:10] * 3 + rotation[1:11]
    learned = learn_thresholds(oblique, data, steps=steps, lr=0.1)
    expected = reference(data, oblique, steps, lr=0.1)
    assert learned.thresholds.numpy() == pytest.approx(expected.numpy(), abs=2e-4)


def test_thresholds_separate_concepts_that_show_from_those_that_do_not(
    data: PixelFeatures, planted: Planted
) -> None:
    shown = planted.pixels @ planted.directions.T > 0.5
    learned = learn_thresholds(planted.directions, data, lr=3e-2)
    fires = pixels_of(data) @ learned.directions.T > learned.thresholds
    assert float((fires == shown).float().mean()) > 0.995
    assert float(fires[shown].float().mean()) > 0.98


def test_lengths_of_directions_do_not_matter(data: PixelFeatures, rotation: Tensor) -> None:
    lengths = torch.logspace(-3, 3, D)
    plain = learn_thresholds(rotation, data, steps=50)
    scaled = learn_thresholds(rotation * lengths[:, None], data, steps=50)
    assert torch.equal(scaled.directions, rotation * lengths[:, None])
    assert (scaled.thresholds / lengths).numpy() == pytest.approx(plain.thresholds.numpy(), abs=1e-3)


def test_units_of_channels_do_not_matter(data: PixelFeatures, rotation: Tensor) -> None:
    units = torch.logspace(-2, 2, D)
    plain = learn_thresholds(rotation, data, steps=50)
    other = learn_thresholds(rotation / units, PixelFeatures(pixels_of(data) * units), steps=50)
    assert other.thresholds.numpy() == pytest.approx(plain.thresholds.numpy(), abs=1e-3)


def test_the_same_seed_gives_the_same_bits_whatever_the_batches(
    data: PixelFeatures, rotation: Tensor
) -> None:
    first = learn_thresholds(rotation, data, steps=5, pixels=500, seed=3)
    torch.manual_seed(99)
    data.batch_size = 1
    again = learn_thresholds(rotation, data, steps=5, pixels=500, seed=3)
    other = learn_thresholds(rotation, data, steps=5, pixels=500, seed=4)
    assert torch.equal(first.thresholds, again.thresholds)
    assert not torch.equal(first.thresholds, other.thresholds)


def test_projections_that_memory_cannot_hold_are_taken_batch_by_batch(
    data: PixelFeatures, rotation: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = learn_thresholds(rotation, data, steps=20)
    monkeypatch.setattr(module, "_MEMORY", 0)
    streamed = learn_thresholds(rotation, data, steps=20)
    assert streamed.thresholds.numpy() == pytest.approx(held.thresholds.numpy(), abs=1e-4)


def test_a_constant_channel_has_no_part_in_it(data: PixelFeatures, rotation: Tensor) -> None:
    wider = PixelFeatures(torch.cat([pixels_of(data), torch.full((P, 1), 7.0)], dim=1))
    directions = torch.block_diag(rotation, torch.ones(1, 1))
    learned = learn_thresholds(directions, wider, steps=20)
    fires = pixels_of(wider) @ learned.directions.T > learned.thresholds
    assert bool(learned.thresholds.isfinite().all())
    assert not bool(fires[:, -1].any())


def test_the_objective_is_that_of_a_basis() -> None:
    defaults = {name: each.default for name, each in inspect.signature(BasisModule).parameters.items()}
    weights = LossWeights(*(defaults[f"{name}_weight"] for name in LossWeights._fields))
    assert OBJECTIVE.weights == weights
    for name in ("gamma", "tau", "margin", "start_firing"):
        assert getattr(OBJECTIVE, name) == defaults[name]
    assert defaults["standardization"] == "zscore"
    assert defaults["lr_schedule"] == "cosine"
    assert inspect.signature(learn_thresholds).parameters["lr"].default == defaults["lr"]


@pytest.mark.parametrize("size", [16, 320, 1280])
@pytest.mark.parametrize("given", [None, 0.2])
def test_the_starting_share_is_that_of_a_basis(size: int, given: float | None) -> None:
    basis = SimpleNamespace(
        hparams=SimpleNamespace(start_firing=given), basis=SimpleNamespace(num_features=size)
    )
    expected = BasisModule._start_firing(basis)  # type: ignore[arg-type]
    assert OBJECTIVE._replace(start_firing=given).starting_share(size) == expected


@pytest.mark.parametrize("shape", [(4, D + 1), (D,)])
def test_directions_of_another_width_are_refused(shape: tuple[int, ...], data: PixelFeatures) -> None:
    with pytest.raises(MismatchError, match=r"expected shape \(I, 16\)"):
        learn_thresholds(torch.ones(shape), data)


def test_no_steps_are_refused(data: PixelFeatures, rotation: Tensor) -> None:
    with pytest.raises(ConfigError, match="steps"):
        learn_thresholds(rotation, data, steps=0)
