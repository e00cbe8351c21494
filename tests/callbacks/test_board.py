"""What TensorBoard gets: curves, pictures, the hparams tab."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from callbacks import FiguresCallback
from tests.running import Bench, Run, fit
from uibe.errors import ConfigError


@pytest.fixture(scope="module")
def events(trained: Run) -> EventAccumulator:
    """All that the shared training logged."""
    return _read(trained.folder)


def test_pictures_are_drawn_with_their_captions(events: EventAccumulator) -> None:
    tags = events.Tags()["images"]
    assert len(tags) == 2
    assert tags[0].startswith("detectors/00 ")
    assert tags[1].startswith("detectors/01 ")
    assert all(tag.endswith(" (learned threshold)") for tag in tags)
    (image,) = events.Images(tags[0])
    assert image.encoded_image_string.startswith(b"\x89PNG")
    assert image.width > image.height > 50


def test_pictures_show_different_concepts_first(events: EventAccumulator) -> None:
    concepts = [tag.split(" ", 1)[1] for tag in events.Tags()["images"]]
    assert len(set(concepts)) == 2


def test_every_pictured_concept_is_one_of_the_set(events: EventAccumulator, bench: Bench) -> None:
    known = (bench.root / "label.csv").read_text(encoding="utf-8")
    for tag in events.Tags()["images"]:
        concept = tag.split(" ", 1)[1].removesuffix(" (learned threshold)")
        assert f",{concept}," in known


def test_no_pictures_on_demand(bench: Bench, tmp_path: Path) -> None:
    run = fit(bench, tmp_path, "--figures.detectors", "0", "--trainer.max_epochs", "1")
    assert _read(run.folder).Tags()["images"] == []


def test_curves_have_a_point_an_epoch(trained: Run, events: EventAccumulator) -> None:
    names = ("loss/total", "loss/sparsity", "detectors/dead", "detectors/margin", "learned/S1", "natural/S2")
    for name in (*names, "learned/object/S1", "rotation/orthogonality_error", "detectors/firing_rate"):
        assert len(events.Scalars(name)) == 2, name
    logged = [point.value for point in events.Scalars("learned/S1")]
    assert logged == pytest.approx([entry["learned"]["S1"] for entry in trained.dissection["history"]])


def test_total_loss_is_the_weighted_sum(trained: Run, events: EventAccumulator) -> None:
    options = trained.checkpoint["hyper_parameters"]
    terms = ("sparsity", "maximum_activation", "inactive_classifier", "maximum_margin")
    expected = [
        sum(options[f"{term}_weight"] * events.Scalars(f"loss/{term}")[epoch].value for term in terms)
        for epoch in range(2)
    ]
    found = [point.value for point in events.Scalars("loss/total")]
    assert found == pytest.approx(expected, rel=1e-4)


def test_hyper_parameters_stand_in_their_tab(events: EventAccumulator) -> None:
    contents = events.summary_metadata
    session = HParamsPluginData.FromString(contents["_hparams_/session_start_info"].plugin_data.content)
    values = session.session_start_info.hparams
    assert values["layer"].string_value == "features.4"
    assert values["lr"].number_value == pytest.approx(3e-3)
    experiment = HParamsPluginData.FromString(contents["_hparams_/experiment"].plugin_data.content).experiment
    followed = {info.name.tag for info in experiment.metric_infos}
    assert followed == {f"{name}/{key}" for name in ("learned", "quantile") for key in ("S1", "S2", "unique")}


def test_no_curve_starts_with_a_false_point(events: EventAccumulator) -> None:
    assert "hp_metric" not in events.Tags()["scalars"]
    assert events.Scalars("learned/S1")[0].value > 0


@pytest.mark.parametrize(("detectors", "images"), [(-1, 1), (1, 0)])
def test_impossible_numbers_are_refused(detectors: int, images: int) -> None:
    with pytest.raises(ConfigError, match="figures"):
        FiguresCallback(detectors, images)


def _read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    return events
