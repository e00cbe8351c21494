"""What TensorBoard shows beside curves and pictures: layout, histograms, the run's card, the projector."""

import inspect
import shutil
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from callbacks.checkpoint import RunCheckpoint
from callbacks.dissection import DissectionCallback
from callbacks.surroundings import board, find, is_last, is_shown
from uibe.errors import ConfigError
from uibe.functional.detectors import Detectors
from uibe.metrics.dissection import Dissection
from uibe.report.board import layout
from uibe.report.card import changed_options, commands, run_card
from uibe.report.examples import image_responses, strongest_of_each_label
from uibe.report.projector import metadata, response_profiles
from uibe.report.sheet import thumbnails

__all__ = ["BoardCallback"]

_THUMBNAIL = 48
_FIELDS = {"IoU": "iou_val", "thresholds": "thresholds", "firing rate": "firing_rate"}
# under a quantile all firing rates are one, and the natural basis never changes
_HISTOGRAMS = {
    "learned": ("IoU", "thresholds", "firing rate"),
    "quantile": ("IoU", "thresholds"),
    "natural": ("IoU",),
}


class BoardCallback(Callback):
    """Lay out TensorBoard's custom scalars, log histograms, write the run's card and fill the projector.

    With another logger it does nothing. Histograms become rarer in a long run, as the pictures of `--forming`
    do; curves have a point an epoch. The card, in the text tab, names data, network, layer and options, and
    the commands to evaluate the run; scores are added at the end of the fit. The projector is filled then:
    `activations` has detectors close together that like the same images, `directions` have unit norm.

    Args:
        projector: most detectors to put into the embedding projector, 0 for none; the strongest of each label
            come first.

    Raises:
        ConfigError: if the number is negative.
    """

    def __init__(self, projector: int = 512) -> None:
        if projector < 0:
            raise ConfigError(f"board.projector: expected at least 0, got {projector}")
        self.projector = projector

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what is known before the first step."""
        lines = _commands(trainer)
        writer = board(trainer)
        if writer is None:
            return
        measured = pl_module.step_means.names
        writer.add_custom_scalars(layout(_bases(trainer), _categories(trainer), measured))
        self._write_card(trainer, pl_module, writer, lines, f"{trainer.global_step} before this fit")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log histograms, if this epoch was dissected and its turn has come."""
        dissection, writer = find(trainer, DissectionCallback), board(trainer)
        if writer is None or dissection is None or not dissection.has_done(trainer.current_epoch):
            return
        if not is_shown(len(dissection.history)) and not is_last(trainer):
            return
        for name, result in dissection.latest.items():
            for title in _HISTOGRAMS[name]:
                values: Tensor = getattr(result, _FIELDS[title])
                finite = values[values.isfinite()]
                if len(finite):  # of a run that diverged nothing is left
                    writer.add_histogram(f"{title}/{name}", finite, trainer.global_step)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the card again, with scores, and fill the projector."""
        lines = _commands(trainer)
        writer, dissection = board(trainer), find(trainer, DissectionCallback)
        if writer is None:
            return
        self._write_card(trainer, pl_module, writer, lines, str(trainer.global_step))
        if self.projector and dissection is not None and dissection.detectors is not None:
            result = next(iter(dissection.latest.values()))
            self._project(trainer, writer, dissection.detectors, result)

    def _write_card(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        writer: SummaryWriter,
        lines: list[str],
        steps: str,
    ) -> None:
        dissection = find(trainer, DissectionCallback)
        history = dissection.history if dissection else []
        scores = {
            name: values for name, values in (history[-1] if history else {}).items() if name != "epoch"
        }
        options = {
            **{f"model.{name}": value for name, value in _changed(pl_module).items()},
            **{f"data.{name}": value for name, value in _changed(trainer.datamodule).items()},  # type: ignore[attr-defined]
        }
        card = run_card(_facts(trainer, pl_module, steps), options, scores, lines)
        writer.add_text("run card", card, trainer.global_step)

    def _project(
        self, trainer: Trainer, writer: SummaryWriter, learned: Detectors, result: Dissection
    ) -> None:
        data = _features(trainer)
        shown = strongest_of_each_label(result)[: self.projector].sort().values
        directions = learned.directions[shown]
        responses = image_responses(data.feature_batches("val"), directions)
        rows = data.rows("val")
        images = (data.image(rows[position]) for position in responses.argmax(1).tolist())
        pictures = thumbnails(images, _THUMBNAIL)
        heads, values = metadata(result, data.concepts.names, shown)
        # the projector opens with the first name of the alphabet
        tables = {"directions": F.normalize(directions), "activations": response_profiles(responses)}
        for tag, table in tables.items():
            _forget(writer, tag)
            writer.add_embedding(table, values, pictures, tag=tag, metadata_header=heads)


def _forget(writer: SummaryWriter, tag: str) -> None:
    """Remove what an earlier fit into this folder wrote, of which the writer would warn on the screen."""
    shutil.rmtree(Path(writer.log_dir) / "00000" / tag, ignore_errors=True)


def _commands(trainer: Trainer) -> list[str]:
    """Commands for the checkpoint that the run writes; a collective, as the folder is agreed upon."""
    folder, keeper = trainer.log_dir, find(trainer, RunCheckpoint)
    return commands(str(keeper.path), folder) if keeper and folder else []


def _bases(trainer: Trainer) -> list[str]:
    dissection = find(trainer, DissectionCallback)
    if dissection is None or not dissection.every_n_epochs or not _features(trainer).has_labels:
        return []
    return [*dissection.protocol.policies, *(["natural"] if dissection.protocol.natural else [])]


def _categories(trainer: Trainer) -> list[str]:
    data = _features(trainer)
    return list(data.concepts.categories) if data.has_labels else []


def _features(trainer: Trainer) -> Any:  # noqa: ANN401 - callbacks do not know data modules
    return trainer.datamodule.features  # type: ignore[attr-defined]


def _facts(trainer: Trainer, pl_module: LightningModule, steps: str) -> dict[str, object]:
    data, backbone = _features(trainer), pl_module.backbone
    height, width = backbone.feature_size
    return {
        "module": type(pl_module).__name__,
        "data module": type(trainer.datamodule).__name__,  # type: ignore[attr-defined]
        **data.facts(),
        "backbone": f"{backbone.backbone}, weights {backbone.weights or 'random'}",
        "SHA-256 of the weights": backbone.weights_sha256,
        "layer": f"{backbone.layer}, {backbone.num_features} channels of {height} x {width}",
        "steps": steps,
    }


def _changed(owner: Any) -> dict[str, Any]:  # noqa: ANN401 - anything with hparams
    """Hyper-parameters that differ from the defaults of the class and its bases."""
    signatures = [
        inspect.signature(kind.__init__) for kind in type(owner).__mro__[::-1] if "__init__" in vars(kind)
    ]
    parameters = {name: each for signature in signatures for name, each in signature.parameters.items()}
    defaults = {name: each.default for name, each in parameters.items() if each.default is not each.empty}
    given = {name: value for name, value in owner.hparams.items() if not name.startswith("_")}
    return changed_options(given, defaults)
