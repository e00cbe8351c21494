"""Comparisons at equal firing rates: areas, interpolation, causes of a gain, and what chance reaches."""

import pytest
import torch

from tests.metrics.fakes import FakeFeatures
from tests.metrics.test_replicates import CONCEPTS, images
from uibe.functional.detectors import Detectors
from uibe.functional.intervals import interval
from uibe.metrics.comparison import (
    Basis,
    Comparison,
    area_over_firing,
    at_firing_rate,
    averaged,
    compare,
    differences,
    gain_by_cause,
    null_cut,
    readings,
)
from uibe.metrics.dissection import dissect, quantile_thresholds

SHARES = (0.05, 0.4, 0.1)


@pytest.fixture(scope="module")
def data() -> FakeFeatures:
    return FakeFeatures(CONCEPTS, images(40, 0), images(30, 1), 16)


@pytest.fixture(scope="module")
def scored(data: FakeFeatures) -> Comparison:
    mixed = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(5))).Q
    bases = {"learned": Basis(mixed, torch.full((4,), 0.3)), "natural": Basis(torch.eye(4))}
    return compare(bases, data, SHARES, replicates=50)


def test_every_basis_has_every_share_in_order_then_its_own_thresholds(scored: Comparison) -> None:
    assert [each.share for each in scored["learned"]] == [0.05, 0.1, 0.4, None]
    assert [each.share for each in scored["natural"]] == [0.05, 0.1, 0.4]


def test_scores_are_those_of_a_dissection_of_its_own(scored: Comparison, data: FakeFeatures) -> None:
    for each in scored["natural"]:
        assert each.share is not None
        alone = Detectors(torch.eye(4), quantile_thresholds(data, torch.eye(4), each.share))
        expected = dissect({"natural": alone}, data)["natural"]
        assert torch.equal(expected.iou_val, each.dissection.iou_val)
        assert each.firing_rate == pytest.approx(float(expected.firing_rate.mean()))
        assert float(each.samples().S1[0]) == pytest.approx(expected.scores().S1)


def test_area_is_the_mean_over_the_logarithm_of_the_rate(scored: Comparison) -> None:
    s1 = [float(each.samples().S1[0]) for each in scored["natural"]]
    octaves = torch.tensor([1.0, 2.0])  # 0.05 to 0.1, 0.1 to 0.4
    expected = float((octaves * torch.tensor([(s1[0] + s1[1]) / 2, (s1[1] + s1[2]) / 2])).sum() / 3)
    assert float(area_over_firing(scored["natural"]).S1[0]) == pytest.approx(expected, rel=1e-6)
    assert float(area_over_firing(scored["natural"][:1]).S1[0]) == pytest.approx(s1[0])
    with pytest.raises(ValueError, match="one share"):
        area_over_firing(scored["learned"][-1:])


def test_own_thresholds_take_no_part_in_the_area(scored: Comparison) -> None:
    with_own, without = (area_over_firing(part) for part in (scored["learned"], scored["learned"][:-1]))
    assert torch.equal(with_own.S1, without.S1)


@pytest.mark.parametrize(
    ("rate", "weights"), [(0.05, (1, 0, 0)), (0.2, (0, 0.5, 0.5)), (0.9, (0, 0, 1)), (0.0, (1, 0, 0))]
)
def test_interpolation_between_shares(scored: Comparison, rate: float, weights: tuple[float, ...]) -> None:
    s1 = [float(each.samples().S1[0]) for each in scored["natural"]]
    expected = sum(weight * value for weight, value in zip(weights, s1, strict=True))
    assert float(at_firing_rate(scored["natural"], rate).S1[0]) == pytest.approx(expected, rel=1e-6)


def test_differences_are_paired(scored: Comparison) -> None:
    learned, natural = readings(scored["learned"]), readings(scored["natural"])
    most = scored["learned"][0].most, scored["natural"][0].most
    found = differences(learned, natural, most)
    assert set(found) == {"area", "0.05", "0.1", "0.4"}
    gap = learned["0.1"].S2 - natural["0.1"].S2
    assert found["0.1"]["S2"] == interval(gap)
    for name in ("interpretable", "unique"):
        lowest, highest = -getattr(most[1], name), getattr(most[0], name)
        for each in (scores[name] for scores in found.values()):
            assert all(lowest <= end <= highest for end in each)
    same = differences(learned, learned, most)
    assert all(set(each) == {0.0} for scores in same.values() for each in scores.values())


def test_causes_add_up_to_the_gain(scored: Comparison) -> None:
    causes = gain_by_cause(scored["learned"], scored["natural"], share=0.05)
    total = float(scored["learned"][-1].samples().S1[0] - scored["natural"][0].samples().S1[0])
    assert causes["total"]["S1"].value == pytest.approx(total)
    parts = causes["directions"]["S1"].value + causes["thresholds"]["S1"].value
    assert parts == pytest.approx(total)
    with pytest.raises(ValueError, match="thresholds of its own"):
        gain_by_cause(scored["natural"], scored["natural"])


def test_means_of_several_bases_are_taken_replicate_by_replicate(scored: Comparison) -> None:
    both = [readings(scored[name]) for name in ("natural", "learned")]
    mean = averaged([{"area": each["area"]} for each in both])
    assert torch.allclose(mean["area"].S1, (both[0]["area"].S1 + both[1]["area"].S1) / 2)


def test_the_null_cut_is_a_quantile_of_all_random_detectors(scored: Comparison) -> None:
    pooled = torch.cat([scored[name][1].iou[0] for name in scored])
    cut = null_cut(list(scored.values()), 0.1, level=0.5)
    assert cut == pytest.approx(float(pooled.median()), abs=0.05)
    assert float((pooled <= cut).double().mean()) == pytest.approx(0.5, abs=0.13)
    with pytest.raises(ValueError, match=r"share of 0\.3"):
        null_cut(list(scored.values()), 0.3)
