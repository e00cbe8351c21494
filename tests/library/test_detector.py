"""Concepts in images: against the definition, on every kind of input, with and without labels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import uibe
from tests.running import Bench, Run
from uibe.errors import ConfigError, DataError, MismatchError
from uibe.functional.bilinear import upsample
from uibe.library import ConceptDetector, Label
from uibe.library.results import boxes
from uibe.modules.backbone import Backbone
from uibe.modules.basis import InterpretableBasis
from uibe.modules.linear_detectors import LinearDetectors


@pytest.fixture(scope="module")
def detector(trained: Run) -> ConceptDetector:
    return uibe.load(trained.path)


@pytest.fixture(scope="module")
def images(trained: Run, bench: Bench) -> list[Image.Image]:
    del trained
    return [Image.open(path).convert("RGB") for path in sorted((bench.root / "images").rglob("*.jpg"))[:3]]


def test_scores_do_not_depend_on_how_an_image_is_given(
    detector: ConceptDetector, images: list[Image.Image]
) -> None:
    arrays = np.stack([np.asarray(image) for image in images])
    expected = detector.transform(images)
    assert expected.shape == (3, 64, 6, 6)
    for given in (arrays, arrays / 255, torch.from_numpy(arrays).permute(0, 3, 1, 2)):
        assert torch.equal(detector.transform(given), expected)
    assert torch.equal(detector.transform(detector.features(images)), expected)
    assert torch.allclose(detector.transform(images[1]), expected[1:2], atol=1e-5)


def test_detections_are_those_of_the_thresholds(detector: ConceptDetector, images: list[Image.Image]) -> None:
    features = detector.features(images)
    every = detector.detect(images, top=None, min_area=0)
    for image, each, found in zip(images, features, every, strict=True):
        scores = [detection.score for detection in found]
        assert scores == sorted(scores, reverse=True)
        maps = torch.einsum("id,dhw->ihw", detector.detectors.directions, each)
        fires = upsample(maps, image.size[::-1]) > detector.detectors.thresholds[:, None, None]
        assert {detection.direction for detection in found} == set(fires.any((1, 2)).nonzero()[:, 0].tolist())
        for detection in found:
            differing = (detection.mask != fires[detection.direction]).double().mean()
            assert differing < 1e-3  # another order of summation
            left, top, right, bottom = detection.boxes[0]
            assert detection.mask[top:bottom, left:right].any()


def test_boxes_are_of_connected_parts() -> None:
    mask = torch.zeros(5, 8, dtype=torch.bool)
    mask[1, 1:3] = True
    mask[3:5, 4:8] = True
    mask[0, 7] = True
    assert boxes(mask) == [(4, 3, 8, 5), (1, 1, 3, 2), (7, 0, 8, 1)]
    assert boxes(torch.zeros(3, 3, dtype=torch.bool)) == []


def test_segments_are_the_strongest_firing_detectors(
    detector: ConceptDetector, images: list[Image.Image]
) -> None:
    (found,) = detector.segment(images[0])
    masks = {each.direction: each.mask for each in detector.detect(images[0], top=None, min_area=0)[0]}
    assert found.directions.shape == images[0].size[::-1]
    assert set(found.names) == set(found.directions.unique().tolist()) - {-1}
    nothing = ~torch.stack(list(masks.values())).any(0)
    assert ((found.directions == -1) == nothing).double().mean() > 0.99
    for number in found.names:
        assert masks[number][found.directions == number].double().mean() > 0.99


def test_labels_choose_what_counts_as_a_concept(trained: Run, images: list[Image.Image]) -> None:
    plain = uibe.load(trained.path)
    everything = {each.direction for each in plain.detect(images[0], top=None)[0]}
    labels = [Label(f"c{n}", "object", 0.5 if n % 2 else 0.01, 0.0, 1.0) for n in range(64)]
    labelled = ConceptDetector(plain.backbone, plain.basis, labels)
    found = labelled.detect(images[0], top=None)[0]
    assert {each.direction for each in found} == {number for number in everything if number % 2}
    assert all(each.label == labels[each.direction] for each in found)
    assert {each.direction for each in labelled.detect(images[0], min_iou=0, top=None)[0]} == everything
    assert set(labelled.segment(images[0])[0].names.values()) <= {f"c{n} (object)" for n in range(1, 64, 2)}


def test_explanations_add_up(detector: ConceptDetector, images: list[Image.Image]) -> None:
    logits = detector.backbone.head(detector.features(images))
    for each, own in zip(detector.explain(images, top=2), logits, strict=True):
        assert each.classes == own.topk(2).indices.tolist()
        total = each.constant + each.contributions.sum(1) + each.residual
        torch.testing.assert_close(total, own[each.classes].double())
        best = each.strongest(0, 3)
        assert best[0] == int(each.contributions[0].argmax())
        assert (each.contributions[0, each.strongest(0, 3, negative=True)] < 0).all()
        maps = each.heat_maps(0, best)
        torch.testing.assert_close(maps.sum((1, 2)), each.contributions[0, best])


def test_a_head_that_is_not_linear_leaves_a_stated_residual(images: list[Image.Image]) -> None:
    backbone = Backbone("uibe.modules.small_cnn:small_cnn", "package:uibe.assets", "features.2")
    (found,) = ConceptDetector(backbone, InterpretableBasis(64)).explain(images[0], top=1)
    assert float(found.logits[0]) == pytest.approx(
        float(backbone(backbone.preprocessing(images[0])[None]).max())
    )
    total = found.constant + found.contributions.sum(1) + found.residual
    torch.testing.assert_close(total, found.logits)
    assert float(found.residual.abs()) > 0.1 * float(found.logits.abs())
    told = found.summary().splitlines()[1]
    assert told.startswith("the split misses ")
    assert "layers after features.2 are not linear" in told


def test_unknown_classes_are_answered_with_close_ones(
    detector: ConceptDetector, images: list[Image.Image]
) -> None:
    with pytest.raises(ConfigError, match="did you mean"):
        detector.explain(images[0], classes=["bycicle"])
    with pytest.raises(ConfigError, match="from 0 to 50"):
        detector.explain(images[0], classes=[51])
    with pytest.raises(ConfigError, match="classes: none are given"):
        detector.explain(images[0], classes=[])


def test_a_single_class_need_not_be_in_a_list(detector: ConceptDetector, images: list[Image.Image]) -> None:
    (expected,) = detector.explain(images[0], classes=["car"])
    for given in ("car", "CAR", expected.classes[0]):
        (found,) = detector.explain(images[0], classes=given)
        assert found.classes == expected.classes
        assert torch.equal(found.contributions, expected.contributions)


def test_a_direction_that_is_not_there_has_no_name(detector: ConceptDetector) -> None:
    assert detector.name(63) == "direction 63"
    for wrong in (64, -1):
        with pytest.raises(ConfigError, match="from 0 to 63"):
            detector.name(wrong)


def test_features_of_another_layer_are_told_as_such(detector: ConceptDetector) -> None:
    with pytest.raises(DataError, match=r"expected \(N, 64, H, W\), got \(2, 32, 6, 6\); images"):
        detector.transform(torch.zeros(2, 32, 6, 6))
    with pytest.raises(DataError, match="channels come first"):
        detector.transform(torch.zeros(2, 32, 32, 3))
    assert detector.transform(torch.zeros(2, 64, 1, 3)).shape == (2, 64, 1, 3)  # features, however wide


def test_weights_without_names_have_numbers() -> None:
    backbone = Backbone("uibe.modules.small_cnn:small_cnn", None, "features.4", image_size=48)
    plain = ConceptDetector(backbone, LinearDetectors(64, 3))
    assert plain.explain(Image.new("RGB", (9, 9)), classes=["7"])[0].names == ["class 7"]
    with pytest.raises(ConfigError, match="carry no names"):
        plain.explain(Image.new("RGB", (9, 9)), classes=["car"])


def test_top_images_are_those_of_the_highest_projection(
    detector: ConceptDetector, bench: Bench, images: list[Image.Image]
) -> None:
    found = detector.top_images(5, bench.root, count=4)
    projections = [each.projection for each in found]
    assert projections == sorted(projections, reverse=True)
    assert all((bench.root / "images" / each.name).is_file() for each in found)
    assert [each.name for each in detector.top_images(5, count=4)] == [each.name for each in found]
    maps = torch.einsum("d,ndhw->nhw", detector.detectors.directions[5], detector.features(images))
    given = detector.top_images(5, images, count=3)
    order = maps.flatten(1).amax(1).argsort(descending=True).tolist()
    assert [each.name for each in given] == [str(place) for place in order]
    assert given[0].mask.shape == given[0].image.size[::-1]


def test_top_images_need_images_and_a_direction(detector: ConceptDetector, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="from 0 to 63"):
        detector.top_images(64)
    (tmp_path / "folder").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "folder" / "one.png")
    assert [each.name for each in detector.top_images(0, tmp_path / "folder")] == ["one.png"]
    unknown = ConceptDetector(detector.backbone, detector.basis)
    with pytest.raises(ConfigError, match="give a folder"):
        unknown.top_images(0)


def test_what_is_not_there_or_does_not_fit_is_refused(trained: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing there"):
        uibe.load(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="no such file; give a folder"):
        uibe.load(tmp_path)
    with pytest.raises(ConfigError, match="cannot be used here"):
        uibe.load(trained.path, device="meta:x")
    with pytest.raises(ConfigError, match="cannot be used here"):
        uibe.load(trained.path).to("meta:x")
    (tmp_path / "text.ckpt").write_text("text")
    with pytest.raises(MismatchError, match="damaged or no checkpoint"):
        uibe.load(tmp_path / "text.ckpt")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_finds_the_same(trained: Run, images: list[Image.Image]) -> None:
    on_gpu, on_cpu = uibe.load(trained.path, device="cuda"), uibe.load(trained.path)
    torch.testing.assert_close(on_gpu.transform(images).cpu(), on_cpu.transform(images), atol=1e-3, rtol=1e-3)
    assert on_gpu.detect(images)[0][0].mask.device.type == "cpu"
    assert float(on_gpu.explain(images)[0].residual.abs().max()) < 1e-3
