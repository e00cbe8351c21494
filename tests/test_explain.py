"""`evaluate.py explain`: parts that add up, names, other bases, and one line for what cannot be."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from commands.explain import _stems
from commands.labelling import Labelled
from commands.splitting import _mean
from lightning_modules.checkpoint import module_from
from tests.running import Bench, Outcome, Run, run_evaluate
from uibe.library.detector import ConceptDetector
from uibe.library.labels import Label


def explain(trained: Run, out: Path, *extra: str | Path) -> Outcome:
    return run_evaluate("explain", "--ckpt_path", trained.path, "--out", out, "--replicates", "10", *extra)


@pytest.fixture(scope="module")
def images(trained: Run, bench: Bench) -> list[Path]:
    """Two rendered scenes, which the training wrote."""
    del trained
    return sorted((bench.root / "images").rglob("*.jpg"))[:2]


@pytest.fixture(scope="module")
def explained(trained: Run, images: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("explain")
    outcome = explain(trained, out, "--image", *images, "--top", "2")
    assert outcome.code == 0, outcome.err
    assert "logit" in outcome.out
    assert "residual" in outcome.out
    return out


def test_parts_add_up_to_the_network_s_own_logits(trained: Run, images: list[Path], explained: Path) -> None:
    module = module_from(trained.checkpoint)
    document = _document(explained)
    assert [each["image"] for each in document["images"]] == [str(path) for path in images]
    for path, each in zip(images, document["images"], strict=True):
        inputs = module.backbone.preprocessing(Image.open(path))[None]
        logits = module.backbone(inputs)[0]
        assert [row["class"] for row in each["classes"]] == logits.topk(2).indices.tolist()
        for row in each["classes"]:
            total = row["constant"] + sum(row["contributions"]) + row["residual"]
            assert total == pytest.approx(row["logit"], rel=1e-12)
            assert row["logit"] == pytest.approx(float(logits[row["class"]]), rel=1e-5)
            scale = sum(map(abs, row["contributions"]))
            assert abs(row["residual"]) < 1e-5 * scale
            assert row["name"] == module.backbone.class_names[row["class"]]


def test_heat_maps_and_concepts_add_up(explained: Path) -> None:
    document = _document(explained)
    for each in document["images"]:
        for row in each["classes"]:
            assert sum(row["concepts"].values()) == pytest.approx(sum(row["contributions"]))
            assert row["strongest"]
            for part in row["strongest"]:
                heat = sum(map(sum, part["heat_map"]))
                assert part["contribution"] == row["contributions"][part["direction"]]
                assert heat == pytest.approx(part["contribution"], abs=1e-9)
            for part in row["strongest_concepts"]:
                several = [row["contributions"][number] for number in part["directions"]]
                assert part["contribution"] == pytest.approx(sum(several))
                assert part["contribution"] == pytest.approx(row["concepts"][part["concept"]])
                assert sum(map(sum, part["heat_map"])) == pytest.approx(part["contribution"], abs=1e-9)


def test_each_concept_says_what_comes_from_less_than_on_average(
    trained: Run, bench: Bench, explained: Path
) -> None:
    module = module_from(trained.checkpoint)
    document = _document(explained)
    assert document["names"].startswith(f"Names are concepts of {bench.root.name} (")
    assert document["drawn"].startswith("Intervals take images as independent.")
    for each in document["images"]:
        inputs = module.backbone.preprocessing(Image.open(each["image"]))[None]
        pooled = module.backbone.features(inputs).mean((2, 3)).double()
        with torch.no_grad():
            levels = module.basis.standardizer(pooled)[0] @ module.basis.rotation().double().T
        assert each["levels"] == pytest.approx(levels.tolist(), abs=1e-4)
        for row in each["classes"]:
            for concept, sides in row["presence"].items():
                assert sides["above"] + sides["below"] == pytest.approx(row["concepts"][concept])
            for part in row["strongest_concepts"]:
                less = [row["contributions"][n] for n in part["directions"] if each["levels"][n] < 0]
                assert part["below"] == pytest.approx(sum(less))
                assert part["below"] == pytest.approx(row["presence"][part["concept"]]["below"])


def test_what_is_small_beside_the_largest_is_not_shown_by_itself(explained: Path) -> None:
    for each in _document(explained)["images"]:
        for row in each["classes"]:
            shown = [abs(part["contribution"]) for part in row["strongest_concepts"]]
            assert min(shown) >= 0.02 * max(map(abs, row["concepts"].values()))


def test_directions_have_labels_and_intervals(trained: Run, explained: Path, tmp_path: Path) -> None:
    directions = _document(explained)["directions"]
    assert [row["direction"] for row in directions] == list(range(64))
    assert all(row["concept"] and row["category"] for row in directions)
    assert all(0 <= row["low"] <= row["high"] <= 1 for row in directions)
    assert run_evaluate("score", "--ckpt_path", trained.path, "--out", tmp_path).code == 0
    scores = json.loads((tmp_path / "metrics.json").read_text())
    assert sum(row["iou"] for row in directions) == pytest.approx(scores["S1"], rel=1e-9)


def test_figures_are_there_twice_and_nothing_partial(images: list[Path], explained: Path) -> None:
    expected = {f"{path.stem}.{kind}" for path in images for kind in ("png", "svg")}
    assert {path.name for path in explained.iterdir()} == {*expected, "explanation.json"}


def test_classes_are_chosen_by_name_or_number(trained: Run, images: list[Path], tmp_path: Path) -> None:
    outcome = explain(trained, tmp_path, "--image", images[0], "--classes", "Car", "0", "--concepts", "1")
    assert outcome.code == 0, outcome.err
    rows = _document(tmp_path)["images"][0]["classes"]
    names = module_from(trained.checkpoint).backbone.class_names
    assert names is not None
    assert [row["class"] for row in rows] == [names.index("car"), 0]
    assert all(len(row["strongest"]) <= 2 for row in rows)


def test_more_than_three_classes_go_on_in_another_figure(
    trained: Run, images: list[Path], tmp_path: Path
) -> None:
    other = tmp_path / "b" / images[0].name
    other.parent.mkdir()
    other.write_bytes(images[0].read_bytes())
    outcome = explain(trained, tmp_path / "out", "--image", images[0], other, "--top", "4")
    assert outcome.code == 0, outcome.err
    stem, documents = images[0].stem, _document(tmp_path / "out")["images"]
    expected = [[f"{name}.png", f"{name}-2.png"] for name in (stem, f"{stem}_2")]
    assert [each["figures"] for each in documents] == expected
    assert [each["figure"] for each in documents] == [names[0] for names in expected]
    found = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert found == {name for names in expected for name in names}


def test_another_basis_states_its_residual(
    trained: Run, images: list[Path], explained: Path, tmp_path: Path
) -> None:
    outcome = explain(trained, tmp_path, "--image", *images, "--top", "2", "--basis", "natural")
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "why_orthonormal.png").stat().st_size > 1000
    natural, own = _document(tmp_path), _document(explained)
    assert natural["basis"] == "natural"
    for one, other in zip(natural["images"], own["images"], strict=True):
        for left, right in zip(one["classes"], other["classes"], strict=True):
            assert left["logit"] == right["logit"]
            assert left["constant"] == right["constant"]
            assert left["contributions"] != right["contributions"]


def test_a_file_s_few_directions_leave_a_residual(trained: Run, images: list[Path], tmp_path: Path) -> None:
    from safetensors.torch import save_file

    few = tmp_path / "few.safetensors"
    directions = torch.randn(5, 64, generator=torch.Generator().manual_seed(0))
    save_file({"directions": directions, "thresholds": torch.ones(5)}, few)
    outcome = explain(trained, tmp_path / "out", "--image", images[0], "--basis", few, "--top", "1")
    assert outcome.code == 0, outcome.err
    (row,) = _document(tmp_path / "out")["images"][0]["classes"]
    assert len(row["contributions"]) == 5
    assert abs(row["residual"]) > 0.1 * abs(row["logit"])
    assert "5 directions do not span 64 channels" in " ".join(outcome.out.split())
    assert row["constant"] + sum(row["contributions"]) + row["residual"] == pytest.approx(row["logit"])


def test_why_orthonormal_is_left_out_where_the_learned_basis_is_not_exact(
    trained: Run, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["commands.explain"], "EXACT", 0.0)
    outcome = explain(trained, tmp_path, "--image", images[0], "--basis", "natural", "--top", "1")
    assert outcome.code == 0, outcome.err
    assert "why_orthonormal is left out" in outcome.out
    assert not list(tmp_path.glob("why_orthonormal*"))


def test_of_several_directions_the_mean_iou_is_weighted_by_contribution() -> None:
    labels = tuple(Label("sky", "object", iou, 0.0, 1.0) for iou in (0.1, 0.5))
    replicates = torch.tensor([[0.1, 0.5], [0.0, 0.56], [0.2, 0.44]], dtype=torch.float64)
    labelled = Labelled(labels, replicates)
    assert _mean(labelled, [0, 1], torch.zeros(2)).startswith("mean IoU 0.300 ")
    # the quantiles 0.025 and 0.975 between 0.14 and 0.26, mirrored at 0.2
    assert _mean(labelled, [0, 1], torch.tensor([-3.0, 1.0])) == "mean IoU 0.200 [0.143, 0.257]"
    assert _mean(labelled, [1], torch.ones(2)) == "IoU 0.500 [0.000, 1.000]"


def test_without_labels_directions_have_numbers(
    trained: Run, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from commands import labelling
    from uibe.errors import DataError

    def gone(*args: object) -> None:
        raise DataError("data/gone: no such folder")

    monkeypatch.setattr(labelling, "open_data", gone)
    outcome = explain(trained, tmp_path, "--image", images[0], "--top", "1")
    assert outcome.code == 0, outcome.err
    assert "labels   none: data/gone: no such folder" in outcome.out
    assert "direction " in outcome.out
    assert _document(tmp_path)["directions"] == []
    assert _document(tmp_path)["images"][0]["classes"][0]["strongest_concepts"] == []
    refused = explain(trained, tmp_path, "--image", images[0], "--basis", "pca")
    assert refused.code == 1
    assert "give --data.root" in refused.err


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (
            ["--image", "nowhere.png"],
            "nowhere.png (from --image): no such file; give a file that is an image",
        ),
        (["--image", "IMAGE", "--classes", "carr"], "no class 'carr'; did you mean 'car'"),
        (["--image", "IMAGE", "--classes", "900"], "expected a number from 0 to 50, got 900"),
        (["--image", "IMAGE", "--basis", "principal"], "--basis: expected natural, random, pca"),
        (["--image", "IMAGE", "--basis", "no.safetensors"], "no.safetensors: no such file"),
        (["--image", "IMAGE", "--top", "0"], "at least 1"),
        (["--image", "IMAGE", "--data.root", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_is_one_line(
    trained: Run, images: list[Path], tmp_path: Path, extra: list[str], message: str
) -> None:
    given = [str(images[0]) if word == "IMAGE" else word for word in extra]
    outcome = explain(trained, tmp_path, *given)
    assert outcome.code == 1
    assert message in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_bad_image_does_not_lose_the_others(trained: Run, images: list[Path], tmp_path: Path) -> None:
    broken, out = tmp_path / "broken.png", tmp_path / "out"
    broken.write_bytes(b"no image")
    outcome = explain(trained, out, "--image", broken, images[0], tmp_path / "gone.png", "--top", "1")
    assert outcome.code == 1
    (line,) = outcome.err.splitlines()
    for mention in ("broken.png", "gone.png", "no such file", "the other 1 of 3 images", str(out)):
        assert mention in line
    document = _document(out)
    assert [each["image"] for each in document["images"]] == [str(images[0])]
    assert [each["image"] for each in document["failed"]] == [str(broken), str(tmp_path / "gone.png")]
    assert {path.suffix for path in out.iterdir()} == {".json", ".png", ".svg"}


def test_a_wrong_class_is_found_before_anything_is_computed(
    trained: Run, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_early(*args: object) -> None:
        pytest.fail("computed features")

    monkeypatch.setattr(ConceptDetector, "features", too_early)
    outcome = explain(trained, tmp_path, "--image", images[0], "--classes", "carr")
    assert outcome.code == 1
    assert "did you mean 'car'" in outcome.err


def test_bars_are_of_concepts_unless_directions_are_asked_for(
    trained: Run, images: list[Path], tmp_path: Path
) -> None:
    given = ["--image", images[0], "--top", "1"]
    by_concept = explain(trained, tmp_path / "a", *given)
    by_direction = explain(trained, tmp_path / "b", *given, "--by", "direction")
    assert "by concept: " in by_direction.out
    assert "by concept: " not in by_concept.out
    (one,), (other,) = (_document(tmp_path / name)["images"] for name in "ab")
    assert one == other  # the numbers are those of both
    (row,) = one["classes"]
    strongest = max(row["strongest_concepts"], key=lambda part: part["contribution"])
    assert strongest["concept"] in by_concept.out
    number = max(row["strongest"], key=lambda part: part["contribution"])["direction"]
    assert f"{number} " in by_direction.out
    assert (tmp_path / "a" / f"{images[0].stem}.png").read_bytes() != (
        tmp_path / "b" / f"{images[0].stem}.png"
    ).read_bytes()


def test_images_are_turned_upright_as_in_the_library(
    trained: Run, images: list[Path], tmp_path: Path
) -> None:
    turned, upright = tmp_path / "turned.png", tmp_path / "upright.png"
    with Image.open(images[0]) as image:
        exif = image.getexif()
        exif[274] = 6  # to be turned clockwise
        image.save(turned, exif=exif)
        image.transpose(Image.Transpose.ROTATE_270).save(upright)
    outcome = explain(trained, tmp_path / "out", "--image", turned, upright, "--top", "1")
    assert outcome.code == 0, outcome.err
    one, other = _document(tmp_path / "out")["images"]
    assert one["classes"][0]["logit"] == pytest.approx(other["classes"][0]["logit"], rel=1e-6)


def test_figures_of_files_of_one_name_are_numbered() -> None:
    def names(*files: str, pages: int = 1) -> list[str]:
        return list(_stems(files, pages).values())

    assert names("a/1.png", "b/1.jpg", "why_orthonormal.png") == ["1", "1_2", "why_orthonormal_2"]
    assert names("a/1.png", "b/1.png", "c/1_2.png", "d/1.png") == ["1", "1_2", "1_2_2", "1_3"]
    assert names("a/Cat.png", "b/cat.png") == ["Cat", "cat_2"]  # one file where case does not count
    assert names("1.png", "1-2.png", pages=2) == ["1", "1-2_2"]  # the first one's second page is 1-2
    assert names("1.png", "1-2.png") == ["1", "1-2"]


def _document(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "explanation.json").read_text())
    return content
