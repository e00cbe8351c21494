"""Every peer finds what it was made to find, and all keep the same contract."""

import inspect
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from tests.peers.planted import PixelFeatures, matched_cosine, sparse_codes, unit_directions
from uibe.errors import ConfigError, DataError
from uibe.functional.orthogonal import orthogonality_error, random_rotation
from uibe.peers.closed_form import natural, pca, random
from uibe.peers.fit import PEERS, fit_peer
from uibe.peers.interface import Peer
from uibe.peers.learned import ica, kmeans, nmf
from uibe.peers.sae import sae

D = 8
FITS: dict[str, Callable[..., Peer]] = {
    "natural": natural,
    "random": random,
    "pca": pca,
    "ica": ica,
    "nmf": nmf,
    "kmeans": kmeans,
    "sae": partial(sae, k=2, steps=30),
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def codes_seen_through(directions: Tensor, num_pixels: int, share: float, offset: float = 0.0) -> Tensor:
    return sparse_codes(num_pixels, len(directions), share, seeded(5)) @ directions + offset


@pytest.fixture
def pixels() -> Tensor:
    return codes_seen_through(unit_directions(D, D, seeded()), 800, share=0.2, offset=3.0)


def test_pca_finds_the_axes_of_a_gaussian_in_falling_order() -> None:
    axes = random_rotation(D, seeded(), torch.float32)
    spread = torch.arange(D, 0, -1).float()
    drawn = torch.randn(8000, D, generator=seeded(1)) * spread @ axes + 100
    peer = pca(PixelFeatures(drawn))
    assert (peer.directions * axes).sum(1).abs().min() > 0.98
    assert float(orthogonality_error(peer.directions)) < 1e-5
    assert peer.num_pixels == 8000


def test_pca_points_to_the_long_tail() -> None:
    axes = random_rotation(D, seeded(), torch.float32)
    tails = torch.rand(8000, D, generator=seeded(1)).pow(8) * torch.arange(D, 0, -1)
    peer = pca(PixelFeatures(-(tails @ axes)))
    assert (peer.directions * -axes).sum(1).min() > 0.9


@pytest.mark.parametrize("two_sided", [True, False])
def test_ica_finds_the_rows_that_unmix_independent_sources(two_sided: bool) -> None:
    mixing = unit_directions(D, D, seeded(3))
    laplacian = torch.distributions.Laplace(0.0, 1.0).icdf(torch.rand(8000, D, generator=seeded(1)) * 0.999)
    sources = laplacian if two_sided else laplacian.clamp(min=0)
    peer = ica(PixelFeatures(sources @ mixing - 5))
    assert matched_cosine(peer.directions, torch.linalg.inv(mixing).T, signed=not two_sided) > 0.98


def test_ica_leaves_out_axes_that_are_rounding() -> None:
    mixing = random_rotation(D, seeded(), torch.float32)[:5]
    flat = codes_seen_through(mixing, 4000, share=0.1, offset=3.0)
    peer = ica(PixelFeatures(flat + 1e-6 * torch.randn(flat.shape, generator=seeded())))
    assert peer.directions.shape == (5, D)
    assert matched_cosine(peer.directions, mixing, signed=True) > 0.98


def test_nmf_finds_non_negative_parts() -> None:
    parts = sparse_codes(D, 3 * D, share=0.3, generator=seeded(2)) + 0.01
    mixtures = codes_seen_through(parts, 4000, share=0.15, offset=-1.0)
    peer = nmf(PixelFeatures(mixtures), components=D)
    assert matched_cosine(peer.directions, parts, signed=True) > 0.95
    assert float(peer.directions.min()) >= 0


def test_kmeans_points_from_the_mean_to_separated_clusters() -> None:
    centres = 5 * unit_directions(D, D, seeded(4)) + 2
    drawn = centres[torch.arange(4000) % D] + 0.1 * torch.randn(4000, D, generator=seeded())
    peer = kmeans(PixelFeatures(drawn))
    assert matched_cosine(peer.directions, centres - centres.mean(0), signed=True) > 0.99


def test_sae_detects_sparse_codes_of_directions() -> None:
    directions = unit_directions(32, 64, seeded(2))
    codes = sparse_codes(8000, 32, 2 / 32, seeded(5))
    drawn = codes @ directions + 1
    peer = sae(PixelFeatures(drawn), latents=32, k=3, steps=400, lr=1e-2)
    detected, shown = (
        torch.nn.functional.normalize(each - each.mean(0), dim=0).T
        for each in (drawn @ peer.directions.T, codes)
    )
    # its latents are told apart by more than the direction itself: what correlates is what they detect
    assert matched_cosine(detected, shown, signed=True) > 0.95


def test_latents_may_outnumber_channels(pixels: Tensor) -> None:
    assert sae(PixelFeatures(pixels), latents=20, steps=2).directions.shape == (20, D)


def test_the_natural_basis_is_the_channels(pixels: Tensor) -> None:
    assert torch.equal(natural(PixelFeatures(pixels)).directions, torch.eye(D))


@pytest.mark.parametrize("name", PEERS)
def test_directions_are_finite_unit_rows(name: str, pixels: Tensor) -> None:
    peer = FITS[name](PixelFeatures(pixels))
    assert peer.directions.shape == (D, D)
    assert peer.directions.dtype == torch.float32
    assert peer.directions.norm(dim=1) == pytest.approx(1.0, abs=1e-6)
    assert peer.num_pixels == (0 if name in ("natural", "random") else 800)


@pytest.mark.parametrize("name", PEERS)
def test_a_seed_gives_the_same_bits_whatever_the_batches(name: str, pixels: Tensor) -> None:
    first = FITS[name](PixelFeatures(pixels, batch_size=1), seed=3)
    torch.manual_seed(99)  # the global state has no say
    again = FITS[name](PixelFeatures(pixels, batch_size=64), seed=3)
    assert torch.equal(first.directions, again.directions)


@pytest.mark.parametrize("name", PEERS)
def test_bars_change_nothing_and_leave_nothing(
    name: str, pixels: Tensor, capsys: pytest.CaptureFixture[str]
) -> None:
    data = PixelFeatures(pixels)
    quiet, shown = FITS[name](data), FITS[name](data, progress=True)
    assert torch.equal(quiet.directions, shown.directions)
    assert capsys.readouterr().out.strip() == ""


@pytest.mark.filterwarnings("ignore:nmf")
@pytest.mark.parametrize("name", ["random", "ica", "nmf", "kmeans", "sae"])
def test_another_seed_gives_another_start(name: str, pixels: Tensor) -> None:
    some = {} if name == "random" else {"pixels": 400}
    first, other = (FITS[name](PixelFeatures(pixels), seed=seed, **some) for seed in (0, 1))
    assert not torch.equal(first.directions, other.directions)


@pytest.mark.filterwarnings("ignore:nmf")
@pytest.mark.parametrize("name", ["ica", "nmf", "kmeans", "sae"])
def test_samples_are_as_large_as_they_say(name: str, pixels: Tensor) -> None:
    assert FITS[name](PixelFeatures(pixels), pixels=400).num_pixels == 400


@pytest.mark.parametrize("fit", [ica, nmf])
def test_a_fit_that_has_not_converged_says_so(fit: Callable[..., Peer], pixels: Tensor) -> None:
    with pytest.warns(UserWarning, match=f"{fit.__name__}: not converged after 1 iterations"):
        fit(PixelFeatures(pixels), iterations=1)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ica", {"components": D + 1}),
        ("ica", {"components": 0}),
        ("nmf", {"components": 0}),
        ("kmeans", {"components": 801}),
        ("sae", {"k": D + 1}),
        ("sae", {"k": 0}),
        ("sae", {"steps": 0}),
        ("ica", {"pixels": 0}),
        ("kmeans", {"seed": -1}),
    ],
)
def test_options_out_of_range_are_refused(name: str, options: dict[str, int], pixels: Tensor) -> None:
    with pytest.raises(ConfigError, match="expected"):
        FITS[name](PixelFeatures(pixels), **options)


@pytest.mark.parametrize("name", ["ica", "sae"])
def test_constant_features_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="constant"):
        FITS[name](PixelFeatures(torch.ones(8, D)))


def test_peers_are_fitted_by_name(pixels: Tensor) -> None:
    data = PixelFeatures(pixels)
    for name in PEERS[:-1]:  # the last, the autoencoder, takes seconds with its defaults
        assert torch.equal(fit_peer(name, data, seed=2).directions, FITS[name](data, seed=2).directions)


@pytest.mark.parametrize(("name", "seed"), [("lda", 0), ("PCA", 0), ("pca", -1)])
def test_unknown_peers_and_negative_seeds_are_refused_in_one_line(
    name: str, seed: int, pixels: Tensor
) -> None:
    with pytest.raises(ConfigError) as error:
        fit_peer(name, PixelFeatures(pixels), seed)  # type: ignore[arg-type]
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("fit", [natural, random, pca, ica, nmf, kmeans, sae])
def test_all_share_one_call_signature(fit: Callable[..., Peer]) -> None:
    shared = list(inspect.signature(fit).parameters.values())[:3]
    assert [(each.name, each.default) for each in shared[1:]] == [("seed", 0), ("progress", False)]
