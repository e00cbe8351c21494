"""Peers of features that no network should give: finite unit directions, or a line that says why not."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from tests.numbers.test_steps import PIXELS, codes
from uibe.errors import DataError
from uibe.peers import fit
from uibe.peers.fit import PEERS, PeerName, fit_peer
from uibe.peers.interface import Features, Peer
from uibe.peers.sae import sae
from uibe.peers.thresholds import learn_thresholds

FITS: dict[str, Callable[[Features], Peer]] = {
    **{name: partial(fit_peer, name) for name in PEERS},
    "sae": partial(sae, steps=20),  # of 2000
}
FITTED: tuple[PeerName, ...] = tuple(name for name in PEERS if name not in ("natural", "random"))


class Pixels:
    """Implements `uibe.peers.interface.Features`."""

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels

    def num_pixels(self, split: str) -> int:
        return len(self.pixels)

    def feature_batches(self, split: str) -> tuple[Tensor, ...]:
        return self.pixels[:, :, None, None].split(50)


def spotted(value: float) -> Tensor:
    pixels = codes()
    pixels[5, 3] = value
    return pixels


@pytest.mark.filterwarnings("ignore:.* not converged after")
@pytest.mark.parametrize("case", PIXELS)
@pytest.mark.parametrize("name", PEERS)
def test_peers_of_odd_features_are_finite_unit_rows_with_thresholds(name: PeerName, case: str) -> None:
    data = Pixels(PIXELS[case])
    directions = FITS[name](data).directions
    assert directions.shape[1] == PIXELS[case].shape[1]
    assert directions.norm(dim=1).tolist() == pytest.approx([1.0] * len(directions), abs=1e-5)
    thresholds = learn_thresholds(directions, data, steps=3).thresholds
    assert bool(thresholds.isfinite().all())


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("name", FITTED)
def test_values_that_are_not_finite_are_refused(name: PeerName, value: float) -> None:
    with pytest.raises(DataError, match="features: expected finite values, found NaN or infinity"):
        fit_peer(name, Pixels(spotted(value)))
    with pytest.raises(DataError, match="finite"):
        learn_thresholds(torch.eye(6), Pixels(spotted(value)))


@pytest.mark.parametrize("pixel", [torch.zeros(6), torch.arange(6.0) / 3, 1e4 * torch.arange(6.0) / 3])
@pytest.mark.parametrize("name", FITTED)
def test_pixels_that_are_all_alike_are_refused(name: PeerName, pixel: Tensor) -> None:
    with pytest.raises(DataError, match="every channel is constant"):
        fit_peer(name, Pixels(pixel.repeat(200, 1)))


@pytest.mark.parametrize("name", ["ica", "nmf", "kmeans", "sae"])
def test_directions_do_not_depend_on_the_unit_however_small_or_large(name: PeerName) -> None:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand(400, 4, generator=generator) ** 8
    plain, tiny, huge = (
        FITS[name](Pixels(unit * pixels)).directions for unit in (1 / float(pixels.max()), 1e-25, 1e25)
    )
    for found in (tiny, huge):
        assert (found @ plain.T).abs().amax(0).tolist() == pytest.approx([1.0] * len(plain), abs=1e-3)


def test_a_peer_that_finds_no_direction_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(data: Features, seed: int = 0, progress: bool = False) -> Peer:
        return Peer(torch.empty(0, 6), 96)

    monkeypatch.setitem(fit._FITS, "nmf", nothing)
    with pytest.raises(DataError, match="features: nmf found no directions"):
        fit_peer("nmf", Pixels(codes()))
