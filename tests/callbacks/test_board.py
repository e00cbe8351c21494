"""What TensorBoard gets: curves, pictures, layout, histograms, card, projector, the hparams tab."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from google.protobuf import text_format
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from torch.nn.functional import normalize

from callbacks import BoardCallback, FiguresCallback
from lightning_modules.checkpoint import basis_from
from tests.running import Bench, Run, fit, run_evaluate, run_train, synthetic
from tests.test_resume import SUPERVISED
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


@pytest.fixture(scope="module")
def projected(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A training that fills the projector."""
    return fit(bench, tmp_path_factory.mktemp("projected"), "--board.projector", "512")


def test_layout_names_what_is_logged_and_nothing_else(events: EventAccumulator) -> None:
    charts = _charts(events)
    logged = events.Tags()["scalars"]
    for (section, title), patterns in charts.items():
        for pattern in patterns:
            found = [name for name in logged if re.match(pattern, name)]
            assert len(found) == 1, (section, title, pattern)


def test_layout_has_the_reference_lines_losses_and_categories(events: EventAccumulator) -> None:
    charts = _charts(events)
    names = [title for section, title in charts if section == "scores"]
    assert names[0].startswith("S1")
    assert charts["scores", names[0]] == ["learned/S1$", "quantile/S1$", "natural/S1$"]
    assert charts["training", "loss"] == ["loss/total$"]
    assert len(charts["training", "loss terms, unweighted"]) == 4
    assert "learned/object/unique$" in charts["by category, learned thresholds", "distinct labels"]


def test_layout_of_a_supervised_run_has_no_empty_chart(bench: Bench, tmp_path: Path) -> None:
    events = _read(fit(bench, tmp_path, *SUPERVISED).folder)
    charts = _charts(events)
    assert [title for section, title in charts if section == "training"] == ["loss"]
    test_layout_names_what_is_logged_and_nothing_else(events)


def test_layout_without_dissection_has_training_alone(bench: Bench, tmp_path: Path) -> None:
    events = _read(fit(bench, tmp_path, "--dissection.every_n_epochs", "0", "--board.projector", "9").folder)
    assert {section for section, _ in _charts(events)} == {"training"}
    assert events.Tags()["histograms"] == []


def test_histograms_of_each_epoch(trained: Run, events: EventAccumulator) -> None:
    expected = {"IoU/learned", "IoU/quantile", "IoU/natural", "thresholds/learned", "thresholds/quantile"}
    assert set(events.Tags()["histograms"]) == {*expected, "firing rate/learned"}
    directions = basis_from(trained.checkpoint).detectors().directions
    steps = [point.step + 1 for point in events.Scalars("learned/S1")]
    for tag in expected:
        recorded = events.Histograms(tag)
        assert [entry.step for entry in recorded] == steps
        assert recorded[-1].histogram_value.num == len(directions)
    # S1 is the sum of the detectors' IoU
    logged = events.Scalars("learned/S1")[-1].value
    assert events.Histograms("IoU/learned")[-1].histogram_value.sum == pytest.approx(logged, rel=1e-5)


def test_card_names_the_run_and_how_to_evaluate_it(trained: Run, bench: Bench, tmp_path: Path) -> None:
    first, last = _cards(trained.folder)
    weights = trained.checkpoint["uibe"]["weights_sha256"]
    for card in (first, last):
        assert weights in card
        assert "| layer | features.4, 64 channels of 6 x 6 |" in card
        assert f"| data | {bench.root.name} |" in card
        assert "| `model.image_size` | 48 |" in card
        assert "`model.lr`" not in card
    assert "| learned |" not in first
    assert "| steps | 0 before this fit |" in first
    assert trained.checkpoint["global_step"] > 0
    assert f"| steps | {trained.checkpoint['global_step']} |" in last
    assert f"| learned | {trained.dissection['history'][-1]['learned']['S1']:.4g} |" in last
    commands = [line.strip() for line in last.splitlines() if line.startswith("    python evaluate.py")]
    assert len(commands) == 4
    photo = next((bench.root / "images").rglob("*.jpg"))
    for command in commands:
        words = shlex.split(command.replace("PHOTO", shlex.quote(str(photo))))[2:]
        outcome = run_evaluate(*words[:-1], tmp_path / words[0])
        assert outcome.code == 0, outcome.err


def test_projector_holds_the_basis(projected: Run) -> None:
    directions = _embedding(projected.folder, "directions")
    expected = normalize(basis_from(projected.checkpoint).detectors().directions)
    torch.testing.assert_close(directions, expected, rtol=1e-4, atol=1e-6)
    responses = _embedding(projected.folder, "activations")
    assert responses.shape == (len(expected), 12)  # validation images
    torch.testing.assert_close(responses.mean(1), torch.zeros(len(expected)), rtol=0, atol=1e-4)


def test_projector_describes_the_detectors(projected: Run, tmp_path: Path) -> None:
    lines = (projected.folder / "00000/directions/metadata.tsv").read_text(encoding="utf-8").splitlines()
    heads, *rows = [line.split("\t") for line in lines]
    assert heads == ["label", "category", "IoU", "firing rate", "detector"]
    assert [row[-1] for row in rows] == [str(number) for number in range(len(rows))]
    run_evaluate("score", "--ckpt_path", projected.path, "--out", tmp_path)
    scored = (tmp_path / "detectors.csv").read_text(encoding="utf-8").splitlines()
    first = dict(zip(scored[0].split(","), scored[1].split(","), strict=True))
    assert rows[0][0] == first["label"]
    assert float(rows[0][2]) == pytest.approx(float(first["iou_val"]), abs=1e-4)


def test_second_fit_into_the_same_folder_writes_the_projector_anew(
    bench: Bench, projected: Run, tmp_path: Path
) -> None:
    options = ["--trainer.logger.init_args.version", "0", "--board.projector", "3"]
    for _ in range(2):
        run = fit(bench, tmp_path, *options)
        assert "warning" not in (run.outcome.out + run.outcome.err).lower()
        assert len(_embedding(run.folder, "directions")) == 3
        assert len(_embedding(run.folder, "activations")) == 3


def test_small_projector_holds_the_strongest(bench: Bench, projected: Run, tmp_path: Path) -> None:
    run = fit(bench, tmp_path, "--board.projector", "1")
    rows = (run.folder / "00000/activations/metadata.tsv").read_text(encoding="utf-8").splitlines()[1:]
    known = (projected.folder / "00000/activations/metadata.tsv").read_text(encoding="utf-8").splitlines()[1:]
    assert rows == [max(known, key=lambda row: float(row.split("\t")[2]))]


@pytest.mark.parametrize("logger", ["CSVLogger", "false"])
def test_other_loggers_get_no_board(
    bench: Bench, trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logger: str
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [logger]
    if logger != "false":
        given = [f"pytorch_lightning.loggers.{logger}", "--trainer.logger.save_dir", str(tmp_path)]
    outcome = run_train(
        *_without_logger(bench),
        "--trainer.logger",
        *given,
        "--forming.detectors",
        "2",
        "--board.projector",
        "9",
    )
    assert outcome.code == 0, outcome.err
    assert [*tmp_path.rglob("events*"), *tmp_path.rglob("*.tsv")] == []


def test_negative_size_of_the_projector_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"board\.projector: expected at least 0, got -1"):
        BoardCallback(-1)


def _without_logger(bench: Bench) -> list[str]:
    small = ["--model.image_size", "48", "--data.pixels_per_batch", "512", "--trainer.max_epochs", "1"]
    return ["fit", *synthetic(bench.root, bench.cache), *small, "--trainer.enable_progress_bar", "false"]


def _charts(events: EventAccumulator) -> dict[tuple[str, str], list[str]]:
    (recorded,) = events.Tensors("custom_scalars__config__")
    layout = Layout.FromString(recorded.tensor_proto.string_val[0])
    return {
        (section.title, chart.title): list(chart.multiline.tag)
        for section in layout.category
        for chart in section.chart
    }


def _cards(folder: Path) -> list[str]:
    recorded = _read(folder).Tensors("run card/text_summary")
    return [entry.tensor_proto.string_val[0].decode() for entry in recorded]


def _embedding(folder: Path, tag: str) -> torch.Tensor:
    config = ProjectorConfig()
    text_format.Parse((folder / "projector_config.pbtxt").read_text(encoding="utf-8"), config)
    (info,) = [entry for entry in config.embeddings if entry.tensor_name.startswith(f"{tag}:")]
    rows = (folder / info.tensor_path).read_text(encoding="utf-8").splitlines()
    assert (folder / info.sprite.image_path).read_bytes().startswith(b"\x89PNG")
    assert len((folder / info.metadata_path).read_text(encoding="utf-8").splitlines()) == len(rows) + 1
    return torch.tensor([[float(value) for value in row.split("\t")] for row in rows])


def _read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0, "histograms": 0})
    events.Reload()
    return events
