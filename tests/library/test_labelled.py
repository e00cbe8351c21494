"""Detectors with labels: one result a concept, directions by name, short texts."""

from pathlib import Path
from typing import SupportsIndex

import numpy as np
import pytest
import torch
from PIL import Image

from uibe.errors import ConfigError, DataError, MismatchError
from uibe.functional.bilinear import upsample
from uibe.library import ConceptDetector, Label
from uibe.library.detecting import detections, leaders
from uibe.library.naming import direction_number
from uibe.library.results import TopImage
from uibe.modules.backbone import Backbone
from uibe.modules.basis import InterpretableBasis
from uibe.modules.linear_detectors import LinearDetectors

ROAD, SKY = Label("road", "object", 0.5, 0.4, 0.6), Label("sky", "object", 0.3, 0.2, 0.4)
LABELS = [ROAD._replace(iou=0.1), SKY, ROAD, SKY._replace(iou=0.01), ROAD._replace(category="scene")]


@pytest.fixture(scope="module")
def plain() -> ConceptDetector:
    """Its thresholds are 0: many fire."""
    backbone = Backbone(
        "uibe.modules.small_cnn:small_cnn", "package:uibe.assets", "features.4", image_size=48
    )
    return ConceptDetector(backbone, InterpretableBasis(64))


@pytest.fixture(scope="module")
def labelled(plain: ConceptDetector) -> ConceptDetector:
    """Eight concepts of eight detectors each; the IoU of detector n is 0.1 + 0.01 n."""
    labels = [Label(f"c{n % 8}", "object", 0.1 + n / 100, 0.0, 1.0) for n in range(64)]
    return ConceptDetector(plain.backbone, plain.basis, labels)


@pytest.fixture(scope="module")
def image() -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
    return Image.fromarray(values).resize((60, 40), Image.Resampling.NEAREST)


def test_the_detector_of_the_highest_iou_speaks_for_its_concept() -> None:
    assert leaders(LABELS, range(5)) == [1, 2, 4]
    assert leaders(LABELS, [0, 3]) == [0, 3]
    assert leaders(None, [4, 2]) == [4, 2]


def test_one_result_a_concept(labelled: ConceptDetector, plain: ConceptDetector, image: Image.Image) -> None:
    each = {found.direction: found for found in plain.detect(image, top=None)[0]}
    found = labelled.detect(image)[0]
    assert {one.direction for one in found} == set(each) & set(range(56, 64))
    assert found
    for one in found:
        assert one.name == f"c{one.direction % 8} (object)"
        assert one.label == labelled.labels[one.direction]  # type: ignore[index]
        assert (one.mask != each[one.direction].mask).double().mean() < 1e-3
    everything = labelled.detect(image, per_concept=False, top=None)[0]
    assert {one.direction for one in everything} == set(each)
    weighted = [one.score * one.label.iou for one in everything if one.label]
    assert weighted == sorted(weighted, reverse=True)


def test_segments_are_the_masks_of_detect_without_overlaps(
    labelled: ConceptDetector, image: Image.Image
) -> None:
    images = [image, image.rotate(180), image.resize((31, 47))]
    overlapping = 0
    every = labelled.detect(images, top=None, min_area=0)
    for found, segments in zip(every, labelled.segment(images), strict=True):
        masks = {one.direction: one.mask for one in found}
        assert len(masks) > 1
        assert set(segments.names) <= set(masks)
        covered = torch.stack(list(masks.values()))
        overlapping += int((covered.sum(0) > 1).sum())
        assert torch.equal(segments.directions >= 0, covered.any(0))  # to the pixel
        for number in segments.names:
            assert bool(masks[number][segments.directions == number].all())
        alone = covered.sum(0) == 1
        for number, mask in masks.items():
            assert bool((segments.directions[mask & alone] == number).all())
    assert overlapping  # else nothing was to be decided


def test_a_planted_concept_is_that_of_its_leader_in_both(plain: ConceptDetector, image: Image.Image) -> None:
    # a detector of the same label fires everywhere and more strongly, but fits the concept badly
    basis = InterpretableBasis(64)
    basis.thresholds.data.fill_(1e3)
    pixels = plain.features(image)[0].flatten(1)
    good, bad = pixels.std(1).topk(2).indices.tolist()
    basis.thresholds.data[good] = pixels[good].median()
    basis.thresholds.data[bad] = pixels[bad].min() - 100
    labels = [SKY._replace(iou=0.0)] * 64
    labels[good], labels[bad] = ROAD, ROAD._replace(iou=0.1)
    detector = ConceptDetector(plain.backbone, basis, labels)
    (found,), (segments,) = detector.detect(image)[0], detector.segment(image)
    assert (found.direction, found.name, segments.names) == (good, "road (object)", {good: "road (object)"})
    assert torch.equal(segments.directions == good, found.mask)
    assert 0.2 < float(found.mask.double().mean()) < 0.8
    everything = detector.detect(image, per_concept=False)[0]
    assert {one.direction: bool(one.mask.all()) for one in everything} == {good: False, bad: True}


def test_results_are_limited(plain: ConceptDetector, image: Image.Image) -> None:
    everything = plain.detect(image, top=None)[0]
    scores = [found.score for found in everything]
    assert len(everything) > 10
    assert [found.direction for found in plain.detect(image)[0]] == [
        found.direction for found in everything[:10]
    ]
    middle = scores[len(scores) // 2]
    above = plain.detect(image, top=None, min_score=middle)[0]
    assert [found.score for found in above] == [score for score in scores if score >= middle]
    assert all(found.label is None and found.name == f"direction {found.direction}" for found in everything)


def test_a_name_that_hardly_fits_does_not_come_first() -> None:
    labels = [ROAD._replace(concept="crosshatched", iou=0.049), ROAD._replace(concept="tree", iou=0.4)]
    logits = torch.logit(torch.tensor([1 - 1e-6, 0.8])).view(2, 1, 1)
    given = (Image.new("RGB", (4, 4)), logits, [0, 1])
    found = detections(*given, ["crosshatched", "tree"], labels)
    assert [each.name for each in found] == ["tree", "crosshatched"]
    assert "IoU 0.400, score 0.800" in repr(found[0])
    assert [each.name for each in detections(*given, ["a", "b"], None)] == ["a", "b"]
    assert [each.name for each in detections(*given, ["a", "b"], labels, min_score=0.9)] == ["a"]


def test_specks_are_left_out_of_detections_and_not_of_segments(
    plain: ConceptDetector, image: Image.Image
) -> None:
    basis, large = InterpretableBasis(64), image.resize((600, 400), Image.Resampling.NEAREST)
    pixels = upsample(plain.features(large)[0], (400, 600)).flatten(1)
    number = int(pixels.std(1).argmax())
    basis.thresholds.data.fill_(1e3)
    basis.thresholds.data[number] = pixels[number].sort().values[-21]  # of 240,000
    detector = ConceptDetector(plain.backbone, basis)
    (speck,) = detector.detect(large, min_area=0)[0]
    share = float(speck.mask.double().mean())
    assert 0 < share < 0.001
    assert detector.detect(large) == [[]]
    assert len(detector.detect(large, min_area=share)[0]) == 1
    assert set(detector.segment(large)[0].names) == {number}


def test_limits_must_make_sense(plain: ConceptDetector, image: Image.Image) -> None:
    with pytest.raises(ConfigError, match="top: expected at least 1, or None for all, got 0"):
        plain.detect(image, top=0)
    with pytest.raises(ConfigError, match="min_score: expected a number from 0 to 1, got 50"):
        plain.detect(image, min_score=50)
    with pytest.raises(ConfigError, match=r"min_area: expected a number from 0 to 1, got -0\.1"):
        plain.detect(image, min_area=-0.1)
    for share in (2.0, -0.1, float("nan")):
        with pytest.raises(ConfigError, match="min_iou: expected a number from 0 to 1, got"):
            plain.detect(image, share)
        with pytest.raises(ConfigError, match="min_iou: expected a number from 0 to 1, got"):
            plain.segment(image, share)
    with pytest.raises(ConfigError, match="count: expected at least 1"):
        plain.top_images(0, [image], count=0)


def test_a_missing_file_is_told_as_one_that_was_named(plain: ConceptDetector, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png .*no such file; give a file that is an image"):
        plain.detect(tmp_path / "gone.png")


def test_names_mean_directions() -> None:
    known: list[tuple[SupportsIndex | str, int]] = [("Sky", 1), ("road (scene)", 4), ("ROAD (object)", 2)]
    for wanted, number in [*known, (np.int64(3), 3), (0, 0)]:
        assert direction_number(wanted, LABELS, (), 5) == number
    assert direction_number("tree", None, ("road", "tree"), 2) == 1


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("road", r"'road' is ambiguous; give 'road \(object\)' or 'road \(scene\)'"),
        ("raod", "no detector is labelled 'raod'; did you mean 'road'"),
        ("Ky", "did you mean 'sky'"),
        ("zebra", r"'zebra'; give a concept that `summary\(\)` lists"),
        (5, "expected a number from 0 to 4, got 5"),
        (-1, "expected a number from 0 to 4, got -1"),
        (1.5, "expected a number from 0 to 4, got 1.5"),
    ],
)
def test_other_names_are_answered(wanted: int | str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        direction_number(wanted, LABELS, (), 5)
    assert "\n" not in str(caught.value)


def test_top_images_of_a_concept(
    labelled: ConceptDetector, plain: ConceptDetector, image: Image.Image, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{value}.png" for value in (40, 200)]
    for path, value in zip(paths, (40, 200), strict=True):
        Image.new("RGB", (20, 10), (value, 90, 30)).save(path)
    expected = plain.top_images(61, [Image.open(path) for path in paths])
    found = labelled.top_images("c5", paths)
    assert [each.projection for each in found] == [each.projection for each in expected]
    assert [each.name for each in found] == [str(paths[int(each.name)]) for each in expected]
    assert {each.name for each in labelled.top_images("c5", [image, paths[0]])} == {"0", str(paths[0])}
    assert [each.name for each in labelled.top_images("c5", str(paths[1]))] == [str(paths[1])]
    with pytest.raises(ConfigError, match=r"these detectors have no labels; .*evaluate\.py export"):
        plain.top_images("c5", paths)
    with pytest.raises(DataError, match="no such folder"):
        labelled.top_images("c5", tmp_path / "gone.png")


def test_an_image_without_the_concept_is_told_from_a_faint_example(plain: ConceptDetector) -> None:
    mask = torch.zeros(100, 100, dtype=torch.bool)
    top = TopImage("a.jpg", Image.new("RGB", (100, 100)), 1.0, mask, 7)
    assert repr(top).endswith("100 x 100, direction 7, projection 1.000, does not fire: no example)")
    for pixels, text in [(1, "<0.1%"), (9, "<0.1%"), (10, "0.1%"), (50, "0.5%"), (100, "1%"), (300, "3%")]:
        some = mask.clone()
        some.view(-1)[:pixels] = True
        assert f"fires in {text} of it" in repr(top._replace(mask=some)), pixels
    assert plain.top_images(5, [Image.new("RGB", (9, 9))])[0].direction == 5


def test_contributions_are_summed_by_concept(labelled: ConceptDetector, image: Image.Image) -> None:
    found = labelled.explain(image, top=1)[0]
    values = found.contributions[0]
    sums = {f"c{n} (object)": float(values[n::8].sum()) for n in range(8)}
    assert {each.name: each.contribution for each in found.by_concept()} == pytest.approx(sums)
    assert found.by_concept()[0].directions[1] - found.by_concept()[0].directions[0] == 8
    order = sorted(sums, key=lambda name: -sums[name])
    assert [each.name for each in found.top(3)] == [name for name in order if sums[name] > 0][:3]
    against = [name for name in reversed(order) if sums[name] < 0]
    assert [each.name for each in found.top(3, negative=True)] == against[:3]


def test_unclear_directions_are_no_concept(plain: ConceptDetector, image: Image.Image) -> None:
    labels = [Label("car", "object", 0.01 if n else 0.5, 0.0, 1.0) for n in range(64)]
    found = ConceptDetector(plain.backbone, plain.basis, labels).explain(image, top=1)[0]
    sums = {each.name: each.contribution for each in found.by_concept()}
    assert sum(sums.values()) == pytest.approx(float(found.contributions[0].sum()))
    assert set(sums) == {"car (object)", "unclear"}
    tops = [*found.top(), *found.top(negative=True)]
    assert [each.name for each in tops] == ["car (object)"]
    assert "unclear" in found.summary()


def test_texts_are_short(labelled: ConceptDetector, plain: ConceptDetector, image: Image.Image) -> None:
    found = labelled.detect(image)[0][0]
    assert repr(found).startswith(f"Detection({found.name}, direction {found.direction}, IoU 0.")
    assert repr(plain.detect(image)[0][0]).count("direction") == 1
    top = labelled.top_images("c1", [image])[0]
    explanation = labelled.explain(image)[0]
    for each in (found, labelled.segment(image)[0], top, explanation, explanation.top(1)[0], labelled):
        assert len(repr(each)) < 200
        assert "tensor" not in repr(each)
    assert "64 directions in 64 channels, 64 labelled, learned thresholds" in repr(labelled)
    logit = f"{explanation.names[0]} {float(explanation.logits[0]):.2f}"
    assert repr(explanation).startswith(f"Explanation({logit}")


def test_summary_lists_concepts(labelled: ConceptDetector, plain: ConceptDetector) -> None:
    lines = labelled.summary(3).splitlines()
    assert lines[0] == repr(labelled)
    assert [line.split()[:4] for line in lines[2:5]] == [
        ["c7", "object", "8", "63"],
        ["c6", "object", "8", "62"],
        ["c5", "object", "8", "61"],
    ]
    assert lines[5:] == ["and 5 more"]
    assert "evaluate.py export" in plain.summary()


def test_supervised_detectors_know_their_concepts(plain: ConceptDetector, image: Image.Image) -> None:
    basis = LinearDetectors(64, 2)
    basis.names = ("road", "sky")
    with torch.no_grad():
        basis.thresholds.fill_(-1)
    detector = ConceptDetector(plain.backbone, basis)
    assert [found.name for found in detector.detect(image)[0]] == ["road", "sky"]
    assert detector.name(1) == "sky"
    assert len(detector.top_images("sky", [image])) == 1
    assert {each.name for each in detector.explain(image)[0].by_concept()} == {"road", "sky"}
    assert "2 named, no labels, supervised thresholds" in repr(detector)


def test_parts_must_fit(plain: ConceptDetector) -> None:
    with pytest.raises(MismatchError, match="labels: expected one for each of 64 directions, got 5"):
        ConceptDetector(plain.backbone, plain.basis, LABELS)
    with pytest.raises(MismatchError, match=r"directions of 5 channels, but layer 'features\.4' has 64"):
        ConceptDetector(plain.backbone, LinearDetectors(5, 2))
