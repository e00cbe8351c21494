"""Negatives and loss of the supervised basis."""

import pytest
import torch

from uibe.functional.supervised import Mining, choose_negatives, logistic_loss, prior_thresholds

NUM = 5000


def case(positives: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores, some of them tied, and signs of which a third is unannotated."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(NUM, generator=generator).mul(50).round()
    signs = torch.randint(-1, 1, (NUM,), generator=generator)
    signs[torch.randperm(NUM, generator=generator)[:positives]] = 1
    return scores, signs.to(torch.int8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("positives", [0, 1, 7, 40, 200, 3000])
@pytest.mark.parametrize("mining", [Mining(), Mining(3, 1.0, 1.0), Mining(20, 0.0, 2.0), Mining(1, 0.3, 1.5)])
def test_chosen_are_negatives_and_as_many_as_allowed(positives: int, mining: Mining) -> None:
    scores, signs = case(positives)
    chosen = choose_negatives(scores, signs, mining, generator())
    assert (signs[chosen] == 0).all()
    assert int(chosen.sum()) == min(mining.per_positive * positives, int((signs == 0).sum()))


def test_default_is_never_more_than_twenty_a_positive() -> None:
    for positives in (1, 10, 60):
        assert int(choose_negatives(*case(positives), Mining(), generator()).sum()) == 20 * positives


def test_hard_ones_are_the_hardest_of_all_where_the_pool_is_everything() -> None:
    scores, signs = case(20)
    everything = Mining(per_positive=20, hard=0.5, pool=1e6)
    chosen = choose_negatives(scores, signs, everything, generator())
    hardest = scores[signs == 0].sort(descending=True).values[:200]
    assert torch.equal(scores[chosen].sort(descending=True).values[:200], hardest)
    # the others are no selection by score
    rest = scores[chosen].sort(descending=True).values[200:]
    assert float(rest.mean()) == pytest.approx(float(scores[signs == 0].mean()), abs=12)


def test_hard_ones_are_the_hardest_of_the_random_pool() -> None:
    scores, signs = case(10)
    scores = scores + torch.arange(NUM) * 1e-4  # no ties
    chosen = choose_negatives(scores, signs, Mining(20, 1.0, 3.0), generator())
    negatives = (signs == 0).nonzero()[:, 0]
    pool = negatives[torch.randperm(len(negatives), generator=generator())[:600]]
    assert set(chosen.nonzero()[:, 0].tolist()) == set(pool[scores[pool].topk(200).indices].tolist())


def test_same_seed_chooses_the_same_and_another_does_not() -> None:
    scores, signs = case(10)
    first, again, other = (choose_negatives(scores, signs, Mining(), generator(s)) for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_loss_is_each_concepts_own_mean_summed() -> None:
    draw = generator()
    logits = torch.randn(50, 3, generator=draw, dtype=torch.float64)
    signs = torch.randint(-1, 2, (50, 3), generator=draw).to(torch.int8)
    chosen = signs >= 0
    weights = len(chosen) / chosen.sum(0).double()
    expected = 0.0
    for concept in range(3):
        own = chosen[:, concept]
        target = (signs[own, concept] == 1).double()
        expected += float(torch.nn.BCEWithLogitsLoss()(logits[own, concept], target))
    assert float(logistic_loss(logits, signs, chosen, weights)) == pytest.approx(expected, rel=1e-12)


def test_loss_has_no_gradient_where_nothing_was_chosen() -> None:
    logits = torch.zeros(4, 2, requires_grad=True)
    signs = torch.tensor([[1, 0], [0, -1], [-1, 1], [0, 0]], dtype=torch.int8)
    chosen = torch.tensor([[True, False], [True, False], [False, True], [False, True]])
    logistic_loss(logits, signs, chosen, torch.ones(2)).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert torch.equal(logits.grad != 0, chosen)
    assert torch.equal(logits.grad.sign()[chosen], torch.tensor([-1.0, 1.0, -1.0, 1.0]))


def test_prior_thresholds_are_the_optimum_without_directions() -> None:
    signs = torch.tensor([[1], [0], [0], [0], [-1]], dtype=torch.int8)
    assert prior_thresholds(signs, 20).tolist() == pytest.approx([float(torch.tensor(3.0).log())])
    assert prior_thresholds(signs, 2).tolist() == pytest.approx([float(torch.tensor(2.0).log())])
    assert prior_thresholds(torch.zeros(3, 1, dtype=torch.int8), 20).isfinite().all()


def test_prior_thresholds_by_hand() -> None:
    # positives 1, 2, 2, 1, 0 and negatives 3, 1, 3, 0, 4; at most two for each positive, none counts as one
    columns = [[1, 0, 0, 0, -1], [1, 1, 0, -1, -1], [1, 1, 0, 0, 0], [1, -1, -1, -1, -1], [0, 0, 0, 0, -1]]
    signs = torch.tensor(columns, dtype=torch.int8).T
    expected = torch.tensor([2 / 1, 1 / 2, 3 / 2, 1 / 1, 2 / 1]).log()
    torch.testing.assert_close(prior_thresholds(signs, 2), expected)
