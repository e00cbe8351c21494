"""The same detectors are drawn over the epochs, also by a run that was stopped and goes on."""

import signal
from pathlib import Path

import pytest
import torch
from pytorch_lightning import Trainer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import callbacks.forming as forming
from callbacks import FormingCallback
from callbacks.surroundings import is_shown
from tests.running import Bench, Run, fit, quick, run_train, synthetic
from tests.test_resume import SHORT, SUPERVISED, stopping
from uibe.errors import ConfigError

FORMING = ["--forming.detectors", "3", "--forming.images", "2"]


def pictures(folder: Path) -> dict[str, list[int]]:
    """Steps of each picture of forming concepts."""
    events = EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()
    tags = [tag for tag in events.Tags()["images"] if tag.startswith("forming/")]
    return {tag: [image.step for image in events.Images(tag)] for tag in tags}


def chosen(run: Run) -> list[int]:
    """The detectors that the run's checkpoint keeps."""
    found: list[int] = run.checkpoint["callbacks"]["FormingCallback"]["chosen"]
    return found


@pytest.fixture(scope="module")
def whole(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Three epochs that nothing stops."""
    return fit(bench, tmp_path_factory.mktemp("forming"), *SHORT, *FORMING, "--trainer.max_epochs", "3")


def test_a_picture_a_detector_and_epoch(whole: Run) -> None:
    assert pictures(whole.folder) == {f"forming/{slot}": [4, 8, 12] for slot in (1, 2, 3)}


def test_captions_name_the_epoch_and_the_same_detectors(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captions: list[list[str]] = []

    def note(images: object, maps: object, threshold: object, lines: list[str]) -> torch.Tensor:
        captions.append(lines)
        return torch.zeros(3, 2, 2, dtype=torch.uint8)

    monkeypatch.setattr(forming, "contact_sheet", note)
    run = fit(bench, tmp_path, *SHORT, *FORMING)
    assert [line for line, _ in captions] == ["epoch 0"] * 3 + ["epoch 1"] * 3
    expected = [f"detector {detector}" for detector in chosen(run)]
    assert [line.split(":")[0] for _, line in captions] == expected * 2


def test_pictures_are_small(whole: Run) -> None:
    events = EventAccumulator(str(whole.folder), size_guidance={"images": 0}).Reload()
    for image in events.Images("forming/1"):
        assert (image.width, image.height) == (432, 182)  # two lines of text, one row of images
        assert len(image.encoded_image_string) < 300_000


def test_pictures_change_while_a_concept_forms(whole: Run) -> None:
    events = EventAccumulator(str(whole.folder), size_guidance={"images": 0}).Reload()
    assert len({image.encoded_image_string for image in events.Images("forming/1")}) == 3


def test_detectors_are_those_of_different_labels(whole: Run) -> None:
    assert len(set(chosen(whole))) == 3


@pytest.mark.parametrize("step", [3, 6])
def test_a_stopped_run_goes_on_with_the_same_detectors(
    bench: Bench, whole: Run, tmp_path: Path, step: int
) -> None:
    options = ["fit", *synthetic(bench.root, bench.cache), *quick(tmp_path), *SHORT, *FORMING]
    options += ["--trainer.max_epochs", "3"]
    assert run_train(*options, *stopping(signal.SIGTERM, step)).code > 128
    again = run_train(*options, "--resume", "auto")
    assert again.code == 0, again.err
    run = Run(again, tmp_path / "uibe" / "version_0")
    assert chosen(run) == chosen(whole)
    assert pictures(run.folder) == pictures(whole.folder)


def test_chosen_detectors_of_a_checkpoint_are_kept() -> None:
    callback = FormingCallback()
    callback.load_state_dict({"chosen": [5, 3]})
    assert callback.state_dict() == {"chosen": [5, 3]}


def test_only_dissected_epochs_are_drawn(bench: Bench, tmp_path: Path) -> None:
    options = [*SHORT, *FORMING, "--trainer.max_epochs", "3", "--dissection.every_n_epochs", "2"]
    run = fit(bench, tmp_path, *options)
    assert pictures(run.folder) == {f"forming/{slot}": [8, 12] for slot in (1, 2, 3)}


def test_supervised_detectors_form_too(bench: Bench, tmp_path: Path) -> None:
    run = fit(bench, tmp_path, *SHORT, *FORMING, *SUPERVISED)
    assert pictures(run.folder) == {f"forming/{slot}": [4, 8] for slot in (1, 2, 3)}


@pytest.mark.parametrize("options", [["--forming.detectors", "0"], ["--dissection.every_n_epochs", "0"]])
def test_nothing_to_draw(bench: Bench, tmp_path: Path, options: list[str]) -> None:
    assert pictures(fit(bench, tmp_path, *SHORT, *FORMING, *options).folder) == {}


def test_a_trainer_without_dissection_is_left_alone(tmp_path: Path) -> None:
    trainer = Trainer(logger=False, enable_checkpointing=False, default_root_dir=tmp_path, accelerator="cpu")
    FormingCallback().on_train_epoch_end(trainer, None)  # type: ignore[arg-type]


def test_pictures_become_rarer() -> None:
    drawn = [number for number in range(1, 101) if is_shown(number)]
    assert drawn[:12] == [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16]
    assert len(drawn) == 22
    assert sum(is_shown(number) for number in range(1, 100_001)) < 70


@pytest.mark.parametrize(("detectors", "images"), [(-1, 1), (1, 0)])
def test_impossible_numbers_are_refused(detectors: int, images: int) -> None:
    with pytest.raises(ConfigError, match="forming"):
        FormingCallback(detectors, images)
