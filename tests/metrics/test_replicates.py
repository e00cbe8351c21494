"""The streaming bootstrap equals a naive one that draws the images and counts them again."""

import pytest
import torch
from torch import Tensor

from tests.metrics.fakes import FakeConcepts, FakeFeatures, Split, image_labels
from uibe.data.broden import ImageLabels
from uibe.functional.detectors import Detectors
from uibe.functional.intervals import poisson_weights, score_samples
from uibe.functional.scores import dissection_scores
from uibe.functional.tally import UNIONS, Union
from uibe.metrics.dissection import dissect, dissect_replicates
from uibe.metrics.tallies import tally_split

CONCEPTS = FakeConcepts(("sky", "sea", "kitchen"), torch.tensor([0, 0, 1]), ("object", "scene"))


def images(num: int, seed: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randint(-8, 16, (num, 4, 2, 2), generator=generator) / 8
    planes = torch.randint(0, 3, (num, 8, 8), generator=generator)
    return Split(features, [_labels(n, plane, generator) for n, plane in enumerate(planes)])


def _labels(number: int, plane: Tensor, generator: torch.Generator) -> ImageLabels:
    labels = image_labels(plane.tolist(), [2] * (number % 2))
    objects = bool((plane > 0).any() or torch.rand((), generator=generator) < 0.5)
    return labels._replace(annotated=torch.tensor([objects, number % 3 > 0 or number % 2 > 0]))


def bases() -> dict[str, Detectors]:
    generator = torch.Generator().manual_seed(5)
    mixed = torch.linalg.qr(torch.randn(4, 4, generator=generator)).Q
    return {
        "natural": Detectors(torch.eye(4), torch.tensor([0.5, 0.25, 0.75, 3.0])),
        "mixed": Detectors(mixed, torch.full((4,), 0.4)),
    }


@pytest.mark.parametrize("union", UNIONS)
@pytest.mark.parametrize("batch", [3, 50])
def test_replicates_are_those_of_a_recount(union: Union, batch: int) -> None:
    train, val = images(12, 0), images(9, 1)
    data = FakeFeatures(CONCEPTS, train, val, batch)
    results, iou = dissect_replicates(bases(), data, replicates=6, seed=2, union=union)
    for replicate, counts in enumerate(poisson_weights(9, 6, seed=2).tolist()):
        drawn = [n for n, times in enumerate(counts) for _ in range(times)]
        again = Split(val.features[drawn], [val.labels[n] for n in drawn])
        recount = tally_split(bases(), FakeFeatures(CONCEPTS, train, again), "val", union)
        for name, result in results.items():
            expected = recount[name].counts().iou(CONCEPTS.category)
            expected = expected.gather(1, result.labels[:, None])[:, 0]
            assert torch.equal(iou[name][replicate], expected)
            scores = dissection_scores(expected, result.labels)
            samples = score_samples(iou[name], result.labels)
            assert [float(each[replicate]) for each in samples] == pytest.approx(list(scores))


@pytest.mark.parametrize("batch", [2, 50])
def test_groups_are_drawn_whole(batch: int) -> None:
    train, val = images(12, 0), images(9, 1)
    groups = torch.tensor([0, 1, 0, 2, 1, 3, 0, 3, 2])
    data = FakeFeatures(CONCEPTS, train, val, batch, groups)
    results, iou = dissect_replicates(bases(), data, replicates=6, seed=2)
    for replicate, counts in enumerate(poisson_weights(4, 6, seed=2).tolist()):
        drawn = [n for n, group in enumerate(groups.tolist()) for _ in range(counts[group])]
        again = Split(val.features[drawn], [val.labels[n] for n in drawn])
        recount = tally_split(bases(), FakeFeatures(CONCEPTS, train, again), "val")
        for name, result in results.items():
            expected = recount[name].counts().iou(CONCEPTS.category)
            assert torch.equal(iou[name][replicate], expected.gather(1, result.labels[:, None])[:, 0])


def test_images_that_are_groups_of_their_own_give_the_same_bits() -> None:
    train, val = images(12, 0), images(9, 1)
    alone = FakeFeatures(CONCEPTS, train, val, group_of=torch.arange(9))
    together = FakeFeatures(CONCEPTS, train, val, group_of=torch.arange(9) // 3)
    _, expected = dissect_replicates(bases(), FakeFeatures(CONCEPTS, train, val), replicates=6)
    _, iou = dissect_replicates(bases(), alone, replicates=6)
    _, other = dissect_replicates(bases(), together, replicates=6)
    assert torch.equal(iou["mixed"], expected["mixed"])
    assert torch.equal(other["mixed"][0], expected["mixed"][0])
    assert not torch.equal(other["mixed"], expected["mixed"])


def test_the_data_itself_is_replicate_zero() -> None:
    data = FakeFeatures(CONCEPTS, images(12, 0), images(9, 1))
    results, iou = dissect_replicates(bases(), data, replicates=3)
    for name, result in dissect(bases(), data).items():
        assert torch.equal(iou[name][0], result.iou_val)
        assert torch.equal(results[name].iou_val, result.iou_val)
        assert iou[name].shape == (4, 4)
        assert not torch.equal(iou[name][1], iou[name][0])


def test_all_bases_draw_the_same_images() -> None:
    data = FakeFeatures(CONCEPTS, images(12, 0), images(9, 1))
    twins = {"one": bases()["mixed"], "other": bases()["mixed"]}
    _, iou = dissect_replicates(twins, data, replicates=20)
    assert torch.equal(iou["one"], iou["other"])
    _, another = dissect_replicates(twins, data, replicates=20, seed=1)
    assert not torch.equal(iou["one"], another["one"])


def test_threads_and_batches_make_no_difference() -> None:
    found = []
    for batch, threads in ((1, 1), (4, 3), (50, 2)):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            data = FakeFeatures(CONCEPTS, images(40, 0), images(70, 1), batch)
            found.append(dissect_replicates(bases(), data, replicates=10)[1]["mixed"])
        finally:
            torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_one_detector_keeps_its_shape() -> None:
    data = FakeFeatures(CONCEPTS, images(12, 0), images(9, 1))
    one = {"one": Detectors(torch.eye(4)[:1], torch.tensor([0.5]))}
    assert dissect(one, data)["one"].iou_val.shape == (1,)
    assert dissect_replicates(one, data, replicates=2)[1]["one"].shape == (3, 1)
