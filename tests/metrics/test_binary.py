"""Binary metrics of labelled detectors: three readings against scikit-learn, pixel by pixel."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score, jaccard_score, precision_score, recall_score
from torch import Tensor

from tests.metrics.fakes import FakeConcepts, FakeFeatures, Split
from uibe.data.broden import ImageLabels
from uibe.functional.detectors import Detectors
from uibe.functional.pixel_labels import pixel_signs
from uibe.metrics import binary
from uibe.metrics.binary import READINGS, Reading, binary_metrics, segmentation_rates
from uibe.metrics.tallies import tally_split

CONCEPTS = FakeConcepts(["a", "b", "c", "d"], torch.tensor([0, 0, 1, 1]), ["object", "texture"])
SIZE = (3, 4)
LABELS = torch.tensor([2, 0, 2, 1, 0, 2])


def split(generator: torch.Generator, images: int) -> Split:
    """Coarse features, so that scores are tied; the texture is not annotated in every third image."""
    features = torch.randint(-3, 4, (images, 5, *SIZE), generator=generator).float()
    labels = []
    for image in range(images):
        textured = image % 3 != 0
        plane = torch.randint(0, 3, (1, *SIZE), generator=generator)
        features[image, 0] += plane[0] == 1
        wide = [2 + image % 2] if textured else []
        concepts = sorted({*plane[plane > 0].sub(1).tolist(), *wide})
        parts = (torch.tensor(wide, dtype=torch.int64), torch.tensor([True, textured]))
        labels.append(ImageLabels(plane, *parts, torch.tensor(concepts, dtype=torch.int64)))
    return Split(features, labels)


@pytest.fixture
def data() -> FakeFeatures:
    generator = torch.Generator().manual_seed(0)
    return FakeFeatures(CONCEPTS, split(generator, 13), split(generator, 11), batch_size=4)


@pytest.fixture
def detectors() -> Detectors:
    generator = torch.Generator().manual_seed(1)
    directions = torch.randint(-2, 3, (6, 5), generator=generator).float()
    directions[:, 0] += 1
    return Detectors(directions, torch.tensor([0.5, 1.0, 4.0, -1.0, 2.0, 7.0]))


def pixels_of(data: FakeFeatures, name: str, concept: int) -> tuple[Tensor, np.ndarray]:
    """The pixels that count for a concept, and whether they carry it."""
    features, labels = data.splits[name]
    signs = pixel_signs(labels, SIZE, CONCEPTS.category, torch.tensor([concept]))[:, 0]
    pixels = features.permute(0, 2, 3, 1).flatten(0, 2)
    return pixels[signs >= 0], (signs[signs >= 0] == 1).numpy()


def margins(detectors: Detectors, members: list[int], pixels: Tensor) -> Tensor:
    """Distances from the members' hyperplanes, the largest of them."""
    directions, thresholds = detectors.directions[members], detectors.thresholds[members]
    return ((pixels @ directions.T - thresholds) / directions.norm(dim=1)).amax(1)


def expected(detectors: Detectors, members: list[int], data: FakeFeatures, concept: int) -> list[float]:
    pixels, truth = pixels_of(data, "val", concept)
    ranks = margins(detectors, members, pixels).numpy()
    fires = (pixels @ detectors.directions[members].T > detectors.thresholds[members]).any(1).numpy()
    rates: list[Any] = [metric(truth, fires, zero_division=0) for metric in (precision_score, recall_score)]
    rates += [average_precision_score(truth, ranks)]
    return rates + [metric(truth, fires, zero_division=0) for metric in (f1_score, jaccard_score)]


def rows(scores: binary.BinaryScores) -> Tensor:
    columns = (scores.precision, scores.recall, scores.average_precision, scores.f1, scores.iou)
    return torch.stack(columns, 1)


def test_individual_is_scikit_learns(data: FakeFeatures, detectors: Detectors) -> None:
    scores = binary_metrics(detectors, LABELS, data)
    assert torch.equal(scores.labels, LABELS)
    assert torch.equal(scores.thresholds, detectors.thresholds)
    for detector, concept in enumerate(LABELS.tolist()):
        assert rows(scores)[detector].tolist() == pytest.approx(
            expected(detectors, [detector], data, concept), rel=1e-12
        )
        assert int(scores.positives[detector]) == int(pixels_of(data, "val", concept)[1].sum())


def test_linear_or_joins_the_detectors_of_a_label(data: FakeFeatures, detectors: Detectors) -> None:
    scores = binary_metrics(detectors, LABELS, data, "linear-or")
    assert scores.labels.tolist() == [0, 1, 2]
    for place, (concept, members) in enumerate({0: [1, 4], 1: [3], 2: [0, 2, 5]}.items()):
        assert rows(scores)[place].tolist() == pytest.approx(
            expected(detectors, members, data, concept), rel=1e-12
        )


def test_joining_raises_recall(data: FakeFeatures, detectors: Detectors) -> None:
    alone, joined = (binary_metrics(detectors, LABELS, data, reading) for reading in READINGS[:2])
    for place, concept in enumerate(joined.labels.tolist()):
        assert joined.recall[place] >= alone.recall[alone.labels == concept].max()


def test_supervised_thresholds_come_from_train(data: FakeFeatures, detectors: Detectors) -> None:
    scores = binary_metrics(detectors, LABELS, data, "supervised-thresholds")
    for detector, concept in enumerate(LABELS.tolist()):
        pixels, truth = pixels_of(data, "train", concept)
        projected = pixels @ detectors.directions[detector]
        tried = [*projected.unique().tolist(), float(projected.min()) - 1]
        best = max(f1_score(truth, (projected > cut).numpy(), zero_division=0) for cut in tried)
        reached = f1_score(truth, (projected > scores.thresholds[detector]).numpy())
        assert reached == pytest.approx(best, rel=1e-12)
        fitted = Detectors(detectors.directions, scores.thresholds)
        assert rows(scores)[detector].tolist() == pytest.approx(
            expected(fitted, [detector], data, concept), rel=1e-12
        )


def test_average_precision_knows_no_threshold(data: FakeFeatures, detectors: Detectors) -> None:
    one, other = (binary_metrics(detectors, LABELS, data, READINGS[reading]) for reading in (0, 2))
    assert torch.equal(one.average_precision, other.average_precision)
    assert not torch.equal(one.thresholds, other.thresholds)


def test_thresholds_at_a_score_are_strict(data: FakeFeatures) -> None:
    natural = Detectors(torch.eye(5), torch.ones(5))  # features are whole numbers: many equal 1
    scores = binary_metrics(natural, LABELS[:5], data)
    assert rows(scores)[1].tolist() == pytest.approx(expected(natural, [1], data, 0), rel=1e-12)


@pytest.mark.parametrize("reading", READINGS)
def test_chunks_and_batches_change_nothing(
    data: FakeFeatures, detectors: Detectors, reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = binary_metrics(detectors, LABELS, data, reading)
    passes = len(data.passes)
    sizes: list[int] = []
    fill = binary._fill
    monkeypatch.setattr(
        binary,
        "_fill",
        lambda ranks, signs, *rest: (sizes.append(ranks.nbytes + signs.nbytes), fill(ranks, signs, *rest)),
    )
    monkeypatch.setattr(binary, "_MEMORY", 2 * 5 * 13 * SIZE[0] * SIZE[1])  # two classifiers at a time
    data.batch_size = 3
    divided = binary_metrics(detectors, LABELS, data, reading)
    assert len(data.passes) - passes > passes
    assert max(sizes) <= binary._MEMORY
    for one, other in zip(whole, divided, strict=True):
        assert torch.equal(one, other)


def test_means_are_over_the_classifiers(data: FakeFeatures, detectors: Detectors) -> None:
    scores = binary_metrics(detectors, LABELS, data)
    means = scores.means()
    assert means._fields == ("mPrecision", "mRecall", "mAP", "chance", "mF1", "mIoU")
    assert [*means[:3], *means[4:]] == pytest.approx(rows(scores).mean(0).tolist(), rel=1e-12)
    truths = [pixels_of(data, "val", concept)[1] for concept in LABELS.tolist()]
    assert means.chance == pytest.approx(sum(truth.mean() for truth in truths) / 6, rel=1e-12)


@pytest.mark.parametrize("reading", READINGS)
def test_random_scores_reach_chance_and_no_more(reading: Reading) -> None:
    generator = torch.Generator().manual_seed(0)
    parts = [split(generator, 300) for _ in range(2)]
    for part in parts:
        part.features.normal_(generator=generator)  # the scores of any detector know nothing of the labels
    detectors = Detectors(torch.eye(5)[[0, 1, 2, 3]], torch.ones(4))
    labels = torch.tensor([0, 1, 2, 3])
    means = binary_metrics(detectors, labels, FakeFeatures(CONCEPTS, *parts), reading).means()
    assert means.chance == pytest.approx(5 / 12, abs=0.02)  # a third for an object, a half for a texture
    assert means.mAP == pytest.approx(means.chance, abs=0.01)


def test_a_label_without_validation_pixels_scores_zero(data: FakeFeatures, detectors: Detectors) -> None:
    for labels in data.splits["val"].labels:
        labels.image_wide.fill_(3)
        labels.concepts[labels.concepts == 2] = 3
    scores = binary_metrics(detectors, LABELS, data)
    assert not rows(scores)[LABELS == 2].any()
    assert not scores.positives[LABELS == 2].any()


def test_no_detectors_have_no_scores(data: FakeFeatures) -> None:
    none = Detectors(torch.zeros(0, 5), torch.zeros(0))
    assert rows(binary_metrics(none, torch.zeros(0, dtype=torch.int64), data)).shape == (0, 5)


def test_wrong_arguments_are_refused(data: FakeFeatures, detectors: Detectors) -> None:
    with pytest.raises(ValueError, match="reading: expected one of individual, linear-or"):
        binary_metrics(detectors, LABELS, data, "or")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="labels: expected 6, one a detector, got 2"):
        binary_metrics(detectors, LABELS[:2], data)


def test_segmentation_rates_are_of_the_tally(data: FakeFeatures, detectors: Detectors) -> None:
    tally = tally_split({"own": detectors}, data, "val")["own"]
    rates = segmentation_rates(tally.counts(), LABELS, CONCEPTS.category)
    iou = tally.counts().iou(CONCEPTS.category).gather(1, LABELS[:, None])[:, 0]
    assert torch.equal(rates.iou, iou)
    # masks of the layer's own size: the pixels are the same
    scores = binary_metrics(detectors, LABELS, data)
    for name in ("precision", "recall", "f1", "iou"):
        torch.testing.assert_close(getattr(rates, name), getattr(scores, name))
