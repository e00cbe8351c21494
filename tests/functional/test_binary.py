"""Binary metrics from counts and from scores, against scikit-learn and by trying everything."""

import warnings

import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score, jaccard_score, precision_score, recall_score

from uibe.functional.binary import average_precision, best_f1_threshold, binary_rates


def draw(seed: int, num: int, levels: int, share: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of a few levels, so that many are tied, and targets that depend on them."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(-levels, levels + 1, (num,), generator=generator) / 7
    noise = torch.randn(num, generator=generator)
    return scores, scores / levels * 7 + noise > torch.tensor(1 - 2 * share)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("num", "levels"), [(1, 3), (2, 1), (50, 3), (400, 20), (1000, 10**6)])
def test_average_precision_is_scikit_learns(seed: int, num: int, levels: int) -> None:
    scores, targets = draw(seed, num, levels, 0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of no positives
        expected = average_precision_score(targets.numpy(), scores.numpy())
    assert average_precision(scores, targets) == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_average_precision_by_hand() -> None:
    tied = torch.zeros(4)
    assert average_precision(tied, torch.tensor([True, False, False, False])) == 0.25
    assert average_precision(torch.arange(4.0), torch.tensor([False, False, True, True])) == 1.0
    assert average_precision(torch.zeros(0), torch.zeros(0, dtype=torch.bool)) == 0.0
    assert average_precision(tied, torch.zeros(4, dtype=torch.bool)) == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_rates_are_scikit_learns(seed: int) -> None:
    scores, targets = draw(seed, 300, 30, 0.4)
    fires = scores > 0.3
    counts = ((fires & targets).sum(), fires.sum(), targets.sum())
    truth, found = targets.numpy(), fires.numpy()
    expected = [metric(truth, found) for metric in (precision_score, recall_score, f1_score, jaccard_score)]
    assert [float(rate) for rate in binary_rates(*counts)] == pytest.approx(expected, rel=1e-12)


def test_rates_of_nothing_are_zero() -> None:
    zeros = torch.zeros(2, dtype=torch.int64)
    for rate in binary_rates(zeros, torch.tensor([0, 3]), torch.tensor([0, 0])):
        assert rate.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("levels", [2, 10, 10**6])
def test_no_threshold_has_a_better_f1(seed: int, levels: int) -> None:
    scores, targets = draw(seed, 120, levels, 0.3)
    tried = [*scores.unique().tolist(), float(scores.min()) - 1]
    best = max(f1_score(targets.numpy(), (scores > cut).numpy(), zero_division=0) for cut in tried)
    fitted = best_f1_threshold(scores, targets)
    assert f1_score(targets.numpy(), (scores > fitted).numpy(), zero_division=0) == pytest.approx(
        best, rel=1e-12
    )


def test_threshold_lies_between_scores() -> None:
    assert best_f1_threshold(torch.tensor([1.0, 4.0, 3.0]), torch.tensor([False, True, True])).item() == 2.0
    everything = best_f1_threshold(torch.tensor([1.0, 2.0]), torch.tensor([True, True]))
    assert everything.item() < 1.0
    assert everything.isfinite()
    one = torch.tensor(1.0)
    neighbours = torch.stack([torch.nextafter(one, one + 1), one])
    assert best_f1_threshold(neighbours, torch.tensor([True, False])).item() == 1.0


def test_without_positives_nothing_fires() -> None:
    scores = torch.tensor([1.0, 5.0, 3.0])
    assert not (scores > best_f1_threshold(scores, torch.zeros(3, dtype=torch.bool))).any()


def test_a_single_pixel_is_enough_for_a_rate() -> None:
    one = torch.tensor(1)
    assert [rate.item() for rate in binary_rates(one, one, one)] == [1.0] * 4


@pytest.mark.parametrize(
    ("targets", "fires"),
    [
        ([True], [True]),
        ([False, False, True], [True, True, True]),  # F1 of 1 / 2 against 0
        ([True, False, True], [True, True, True]),  # 4 / 5 against 2 / 3
        ([True, False, False, False, True], [True, False, False, False, False]),  # 2 / 3 against 4 / 7
    ],
)
def test_threshold_by_hand(targets: list[bool], fires: list[bool]) -> None:
    scores = -torch.arange(float(len(targets)))
    assert (scores > best_f1_threshold(scores, torch.tensor(targets))).tolist() == fires
