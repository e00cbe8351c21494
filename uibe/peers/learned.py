"""Peers from scikit-learn, fitted on a sample: FastICA, non-negative factors, cluster centres."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from rich.progress import Progress
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import NMF, FastICA, MiniBatchNMF
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from uibe.errors import ConfigError
from uibe.functional.moments import covariance
from uibe.peers.interface import Features, Peer
from uibe.peers.sample import BLOCK, sample_to_fit, sum_moments
from uibe.peers.signs import towards_positive_skewness, unit_rows

__all__ = ["ica", "kmeans", "nmf"]

_PIXELS = 100_000
_MOST, _FEWEST = 200, 10
_WORK = 2e13  # floating-point operations: some minutes on two cores
_SCALAR = 25  # times as slow as a product of matrices is an operation of coordinate descent
_VARIANCE_FLOOR = 1e-6  # as in whitening: an axis with less of the largest variance is rounding


def ica(
    data: Features,
    seed: int = 0,
    progress: bool = False,
    components: int | None = None,
    pixels: int = _PIXELS,
    iterations: int | None = None,
) -> Peer:
    """Rows that unmix independent components: FastICA, all at once, `logcosh` (Hyvarinen 1999).

    Pixels are whitened beforehand in float64, along principal axes with at least 1e-6 of the largest
    variance; others would only amplify rounding, so there are fewer directions than components where the
    features have fewer axes. A component's sign is free: towards positive skewness.

    Args:
        data: features.
        seed: of the sample and the start.
        progress: whether to show bars.
        components: I at most, in [1, D]; null for D.
        pixels: size of the sample.
        iterations: at most; null for 200, or fewer so that wide layers take minutes (30 for D = 1280).

    Raises:
        ConfigError: if an argument is out of range.
        DataError: if the features are constant, or not finite.

    Warns:
        UserWarning: if the fit has not converged; its directions are returned all the same.

    Example:
        >>> class Sparse:
        ...     values = torch.rand(500, 2, 1, 1, generator=torch.Generator().manual_seed(0)) ** 8
        ...     num_pixels = lambda self, split: 500
        ...     feature_batches = lambda self, split: [self.values]
        >>> ica(Sparse()).directions.abs().max(1).values.round(decimals=1).tolist()
        [1.0, 1.0]
    """
    sample = sample_to_fit(data, pixels, seed, progress)
    wanted = _wanted(components, sample, most=sample.shape[1])
    mean, whitening = _whitening(sample, wanted)
    white = torch.cat([(block - mean) @ whitening.T for block in torch.split(sample, BLOCK)])
    most = iterations or _affordable(4 * len(white) * white.shape[1] ** 2)
    model = FastICA(whiten=False, max_iter=most, random_state=seed)
    with _fitting("ica", most, progress):
        model.fit(white.cpu().numpy())
    unmixing = torch.from_numpy(model.components_).to(whitening) @ whitening
    directions = towards_positive_skewness(unit_rows(unmixing), torch.split(sample, BLOCK), mean)
    _warn_unless_converged("ica", model.n_iter_, most)
    return Peer(directions, len(sample))


def nmf(
    data: Features,
    seed: int = 0,
    progress: bool = False,
    components: int | None = None,
    pixels: int = _PIXELS,
    iterations: int | None = None,
) -> Peer:
    """Parts that pixels are non-negative mixtures of: `x - min ~ codes @ parts` (Lee and Seung 1999).

    Each channel's minimum over the sample is taken off first: 0 after a ReLU, and without one what makes
    the features non-negative. It moves a detector's threshold, not its direction. A part is used as a
    direction to project on. Coordinate descent where it takes minutes (up to D = 140 with 100,000 pixels),
    multiplicative updates of mini-batches beyond, which come less close.

    Args:
        data: features.
        seed: of the sample and the start.
        progress: whether to show bars.
        components: I; null for D.
        pixels: size of the sample.
        iterations: passes over the sample at most; null for 200, or fewer so that wide layers take minutes.

    Raises:
        ConfigError: if an argument is out of range.
        DataError: if the features are constant, or not finite.

    Warns:
        UserWarning: if the fit has not converged; its directions are returned all the same.

    Example:
        >>> class Sparse:
        ...     values = torch.rand(500, 2, 1, 1, generator=torch.Generator().manual_seed(0)) ** 8
        ...     num_pixels = lambda self, split: 500
        ...     feature_batches = lambda self, split: [self.values]
        >>> nmf(Sparse()).directions.max(1).values.round(decimals=1).tolist()
        [1.0, 1.0]
    """
    sample = sample_to_fit(data, pixels, seed, progress)
    wanted = _wanted(components, sample, most=len(sample))
    work = 2 * len(sample) * wanted * sample.shape[1]
    most = iterations or _affordable(4 * work)
    model = (
        NMF(wanted, max_iter=most, random_state=seed)
        if _affordable(_SCALAR * work) == _MOST
        else MiniBatchNMF(wanted, batch_size=BLOCK, max_iter=most, random_state=seed)
    )
    with _fitting("nmf", most, progress):
        model.fit((sample - sample.amin(0)).cpu().numpy())
    _warn_unless_converged("nmf", model.n_iter_, most)
    return Peer(unit_rows(torch.from_numpy(model.components_)).to(sample.device), len(sample))


def kmeans(
    data: Features,
    seed: int = 0,
    progress: bool = False,
    components: int | None = None,
    pixels: int = _PIXELS,
    iterations: int | None = None,
) -> Peer:
    """From the mean of all pixels towards the centre of each cluster: mini-batch k-means (Sculley 2010).

    Args:
        data: features.
        seed: of the sample and the start.
        progress: whether to show bars.
        components: number of clusters, I; null for D.
        pixels: size of the sample.
        iterations: passes over the sample at most; null for 200, or fewer so that wide layers take minutes.

    Raises:
        ConfigError: if an argument is out of range.
        DataError: if the features are constant, or not finite.

    Example:
        >>> class Corners:
        ...     values = torch.eye(3).repeat(20, 1)[:, :, None, None]
        ...     num_pixels = lambda self, split: 60
        ...     feature_batches = lambda self, split: [self.values]
        >>> kmeans(Corners()).directions.argmax(1).sort().values.tolist()
        [0, 1, 2]
    """
    sample = sample_to_fit(data, pixels, seed, progress)
    wanted = _wanted(components, sample, most=len(sample))
    most = iterations or _affordable(2 * len(sample) * wanted * sample.shape[1])
    model = MiniBatchKMeans(wanted, batch_size=BLOCK, max_iter=most, n_init=3, random_state=seed)
    with _fitting("kmeans", most, progress):
        model.fit(sample.cpu().numpy())
    centres = torch.from_numpy(model.cluster_centers_).to(sample.device)
    return Peer(unit_rows(centres - sample.mean(0)), len(sample))


def _wanted(components: int | None, sample: Tensor, most: int) -> int:
    wanted = min(sample.shape[1], most) if components is None else components
    if not 1 <= wanted <= most:
        raise ConfigError(f"components: expected 1 to {most}, got {wanted}")
    return wanted


def _affordable(work: float) -> int:
    """Iterations of so much work each."""
    return int(min(_MOST, max(_FEWEST, _WORK // work)))


def _whitening(sample: Tensor, wanted: int) -> tuple[Tensor, Tensor]:
    """Mean `(D,)` and rows `(I, D)` onto which projections are uncorrelated, of unit variance."""
    moments = sum_moments(torch.split(sample, BLOCK), full=True)
    variances, axes = torch.linalg.eigh(covariance(moments))
    kept = (variances > _VARIANCE_FLOOR * variances[-1]).nonzero().flatten().flip(0)[:wanted]
    rows = (axes[:, kept] * variances[kept].rsqrt()).T
    return (moments.total / moments.num_pixels).float(), rows.float()


@contextmanager
def _fitting(name: str, most: int, progress: bool) -> Iterator[None]:
    """Show that a fit is under way, and keep scikit-learn's advice on its own options from the user."""
    with Progress(transient=True, disable=not progress) as bars, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        bars.add_task(f"Fitting {name}, at most {most} iterations", total=None)
        yield


def _warn_unless_converged(name: str, used: int, most: int) -> None:
    if used >= most:
        warnings.warn(
            f"{name}: not converged after {most} iterations; its directions are those reached so far",
            stacklevel=3,
        )
