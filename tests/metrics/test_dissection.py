"""The tally as a metric, and labels and scores from separate splits."""

from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor

from tests.metrics.fakes import FakeConcepts, FakeFeatures, Split, image_labels
from uibe.data.broden import ImageLabels
from uibe.functional.detectors import Detectors, projection_maps
from uibe.functional.label_counts import label_counts
from uibe.functional.tally import empty_tally, tally_batch
from uibe.metrics.dissection import dissect, quantile_thresholds, with_quantile_thresholds
from uibe.metrics.tallies import Counts, DissectionTally, tally_split

CATEGORIES = torch.tensor([0, 0, 1])
CONCEPTS = FakeConcepts(("sky", "sea", "kitchen"), CATEGORIES, ("object", "scene"))


def random_images(num: int, detectors: int = 2, seed: int = 0) -> tuple[Tensor, list[ImageLabels]]:
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randint(-8, 16, (num, detectors, 2, 2), generator=generator) / 8
    planes = torch.randint(0, 3, (num, 4, 4), generator=generator)
    return maps, [image_labels(p.tolist(), [2] * (n % 2)) for n, p in enumerate(planes)]


def tallied(maps: Tensor, labels: Sequence[ImageLabels], batch: int = 64) -> DissectionTally:
    metric = DissectionTally(maps.shape[1], CATEGORIES, 2)
    thresholds = torch.full((maps.shape[1],), 0.5)
    for start in range(0, len(maps), batch):
        for counts in label_counts(labels[start : start + batch]):
            metric.update(maps[start : start + batch], thresholds, counts)
    return metric


def assert_same(found: Counts, expected: Counts) -> None:
    for name, left, right in zip(Counts._fields, found, expected, strict=True):
        assert left.dtype == right.dtype == torch.int64
        assert left.shape == right.shape, name
        assert torch.equal(left, right), name


def test_counts_are_those_of_the_tally_and_of_the_feature_pixels() -> None:
    maps, labels = random_images(9)
    tally = empty_tally(2, 3, 2)
    [counts] = label_counts(labels)
    tally_batch(tally, maps, torch.tensor([0.5, 0.5]), counts, CATEGORIES)
    fired = (maps > 0.5).sum((0, 2, 3))
    assert_same(tallied(maps, labels).counts(), Counts(*tally, fired, torch.tensor(36)))


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_batch_size_does_not_matter(batch: int) -> None:
    maps, labels = random_images(9)
    assert_same(tallied(maps, labels, batch).counts(), tallied(maps, labels).counts())


def test_states_of_two_metrics_add_up_to_one() -> None:
    maps, labels = random_images(9)
    parts = [tallied(maps[:2], labels[:2]).counts(), tallied(maps[2:], labels[2:]).counts()]
    added = Counts(*(left + right for left, right in zip(*parts, strict=True)))
    assert_same(added, tallied(maps, labels).counts())
    assert int(added.intersections.sum()) > 0


def test_merging_states_as_processes_do() -> None:
    maps, labels = random_images(9)
    first, second = tallied(maps[:2], labels[:2]), tallied(maps[2:], labels[2:])
    first.merge_state(second)
    assert_same(first.counts(), tallied(maps, labels).counts())


def test_reset_forgets_everything() -> None:
    maps, labels = random_images(9)
    metric = tallied(*random_images(5, seed=1))
    metric.reset()
    metric.update(maps, torch.full((2,), 0.5), *label_counts(labels))
    assert_same(metric.counts(), tallied(maps, labels).counts())


def test_another_metric_keeps_its_own_counts() -> None:
    first = tallied(*random_images(5))
    before = [count.clone() for count in first.counts()]
    tallied(*random_images(7, seed=1))
    assert all(torch.equal(left, right) for left, right in zip(first.counts(), before, strict=True))


def test_one_detector_one_concept_one_category_keep_their_shapes() -> None:
    metric = DissectionTally(1, torch.tensor([0]), 1)
    sky = image_labels([[1, 0]])._replace(annotated=torch.tensor([True]))
    metric.update(torch.tensor([[[[2.0, 0.0]]]]), torch.tensor([1.0]), *label_counts([sky]))
    counts = metric.counts()
    assert [tuple(count.shape) for count in counts] == [(1, 1), (1, 1), (1,), (1,), ()]
    assert counts.iou(metric.categories).tolist() == [[1.0]]
    assert counts.firing_rate().tolist() == [0.5]


def test_no_images_have_a_firing_rate_and_iou_of_zero() -> None:
    metric = DissectionTally(2, CATEGORIES, 2)
    with pytest.warns(UserWarning, match="before the ``update`` method"):
        counts = metric.counts()
    assert counts.firing_rate().tolist() == [0.0, 0.0]
    assert not counts.iou(CATEGORIES).any()


# D = 2 channels of 1 x 2 pixels, masks 1 x 2, detectors = channels, threshold 1/2. One image a split.
#   train: channel 0 fires left, channel 1 right; sky (code 1) left, sea (code 2) right
#   val:   as train, but the sea is left and the sky right
# Labels from train: channel 0 sky, channel 1 sea, IoU 1. On val channel 0 meets no sky: IoU 0, and so on.
# Taken the other way round, or from one split alone, the scores would be 1.
FEATURES = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
SWAPPED = FakeFeatures(
    CONCEPTS, Split(FEATURES, [image_labels([[1, 2]])]), Split(FEATURES, [image_labels([[2, 1]])])
)
BASIS = Detectors(torch.eye(2), torch.tensor([0.5, 0.5]))


def test_labels_come_from_train_and_scores_from_val() -> None:
    found = dissect({"basis": BASIS}, SWAPPED)["basis"]
    assert found.labels.tolist() == [0, 1]
    assert found.iou_train.tolist() == [1.0, 1.0]
    assert found.iou_val.tolist() == [0.0, 0.0]
    assert found.scores() == (0.0, 0.0, 0, 0)


def test_swapped_splits_give_swapped_labels() -> None:
    data = FakeFeatures(CONCEPTS, SWAPPED.splits["val"], SWAPPED.splits["train"])
    assert dissect({"basis": BASIS}, data)["basis"].labels.tolist() == [1, 0]


def test_firing_rate_and_thresholds_are_of_the_train_split() -> None:
    quiet = Split(torch.zeros_like(FEATURES), [image_labels([[1, 2]])])
    data = FakeFeatures(CONCEPTS, SWAPPED.splits["train"], quiet)
    found = dissect({"basis": BASIS}, data)["basis"]
    assert found.firing_rate.tolist() == [0.5, 0.5]
    assert torch.equal(quantile_thresholds(data, torch.eye(2), 0.1), torch.ones(2))


def test_category_scores_belong_to_the_labels_category() -> None:
    # detector 0 finds the sky (object), detector 1 fires everywhere: the kitchen (scene) covers the image
    features = torch.tensor([[[[1.0, 0.0]], [[1.0, 1.0]]]])
    split = Split(features, [image_labels([[1, 0]], [2])])
    found = dissect({"basis": BASIS}, FakeFeatures(CONCEPTS, split, split))["basis"]
    assert found.labels.tolist() == [0, 2]
    assert found.category_scores() == {"object": (1.0, 1.0, 1, 1), "scene": (1.0, 1.0, 1, 1)}


def random_data(batch_size: int = 2) -> FakeFeatures:
    generator = torch.Generator().manual_seed(0)
    splits = []
    for num in (7, 5):
        features = torch.randint(-8, 8, (num, 2, 2, 2), generator=generator) / 8
        planes = torch.randint(0, 3, (num, 4, 4), generator=generator).tolist()
        splits.append(Split(features, [image_labels(plane) for plane in planes]))
    return FakeFeatures(CONCEPTS, *splits, batch_size)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_dissection_does_not_depend_on_batches(batch_size: int) -> None:
    sets = {"basis": BASIS._replace(thresholds=torch.zeros(2))}
    found, expected = (dissect(sets, random_data(size))["basis"] for size in (batch_size, 2))
    assert torch.equal(found.labels, expected.labels)
    assert torch.equal(found.iou_val, expected.iou_val)
    assert float(found.iou_val.sum()) > 0


def test_several_sets_share_one_pass_and_do_not_disturb_each_other() -> None:
    data = random_data()
    low, high = (BASIS._replace(thresholds=torch.full((2,), value)) for value in (-0.25, 0.25))
    turned = Detectors(torch.eye(2).flip(0), torch.zeros(2))
    sets = {"low": low, "high": high, "turned": turned}
    together = dissect(sets, data)
    assert data.passes == ["train", "val"]
    for name, detectors in sets.items():
        alone = dissect({name: detectors}, data)[name]
        assert torch.equal(together[name].iou_val, alone.iou_val)
        assert torch.equal(together[name].firing_rate, alone.firing_rate)
    assert float(together["low"].firing_rate.mean()) > float(together["high"].firing_rate.mean())


@pytest.fixture
def three_threads() -> Iterator[None]:
    """Torch's threads, put back."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def many_images() -> FakeFeatures:
    generator = torch.Generator().manual_seed(0)
    features = torch.randint(-8, 8, (70, 2, 2, 2), generator=generator) / 8
    planes = torch.randint(0, 3, (70, 4, 4), generator=generator).tolist()
    split = Split(features, [image_labels(plane) for plane in planes])
    return FakeFeatures(CONCEPTS, split, split, batch_size=40)


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("inference", [True, False])
def test_threads_divide_the_images_and_not_the_counts(inference: bool) -> None:
    sets = {"basis": BASIS._replace(thresholds=torch.zeros(2))}
    with torch.inference_mode(inference):
        found = tally_split(sets, many_images(), "train")["basis"].counts()
    assert torch.get_num_threads() == 3
    torch.set_num_threads(1)
    assert_same(found, tally_split(sets, many_images(), "train")["basis"].counts())
    assert int(found.intersections.sum()) > 0


@pytest.mark.usefixtures("three_threads")
def test_what_goes_wrong_in_a_thread_is_raised() -> None:
    data = many_images()
    wrong = [labels._replace(planes=labels.planes[0]) for labels in data.splits["train"].labels]
    data.splits["train"] = data.splits["train"]._replace(labels=wrong)
    with pytest.raises(ValueError, match="not enough values to unpack"):
        tally_split({"basis": BASIS}, data, "train")
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("quantile", [0.01, 0.1, 0.5])
def test_at_most_the_quantile_of_train_pixels_exceeds_its_threshold(quantile: float) -> None:
    data, directions = random_data(), torch.tensor([[1.0, 2.0], [-1.0, 0.5]])
    detectors = with_quantile_thresholds(data, directions, quantile)
    maps = projection_maps(data.splits["train"].features, directions)
    above = (maps > detectors.thresholds[:, None, None]).double().mean((0, 2, 3))
    assert torch.equal(detectors.directions, directions)
    assert bool((above <= quantile).all())
    at_least = (maps >= detectors.thresholds[:, None, None]).double().mean((0, 2, 3))
    assert bool((at_least > quantile).all())


def test_quantiles_project_pixels_and_not_channels() -> None:
    # two images, D = 2, three pixels: projections on (1, 1) are 1..6, the third largest is 4
    features = torch.tensor([[[[1.0, 2.0, 3.0]], [[0.0, 0.0, 0.0]]], [[[0.0, 0.0, 0.0]], [[4.0, 5.0, 6.0]]]])
    split = Split(features, [image_labels([[0]])] * 2)
    data = FakeFeatures(CONCEPTS, split, split, batch_size=1)
    assert quantile_thresholds(data, torch.tensor([[1.0, 1.0]]), 0.34).tolist() == [4.0]
