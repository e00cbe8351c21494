"""Network dissection of the basis while it is learned."""

from typing import Any, Literal

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities.rank_zero import rank_zero_warn

from callbacks.surroundings import is_last
from uibe.errors import ConfigError, MismatchError
from uibe.functional.detectors import Detectors
from uibe.metrics.dissection import Dissection
from uibe.metrics.protocol import EvaluationProtocol, describe, evaluate

__all__ = ["DissectionCallback"]


class DissectionCallback(Callback):
    """Label and score the detectors at the end of epochs; log S1, S2 and counts, in all and by category.

    Logged names are `learned/S1`, `quantile/S2`, `natural/unique`, `learned/object/S1` and so on, to every
    logger; any of them can be monitored. The history is kept in the checkpoint.

    Args:
        every_n_epochs: epochs between dissections, 0 for never; the last epoch (or step) is always due.
        thresholds: policies: `learned`, the basis's own, and `quantile`, NetDissect's.
        quantile: share of train pixels that exceed a quantile threshold.
        union: `annotated`, or `netdissect-lite` for comparison with published numbers.
        natural: dissect the natural basis, once, at the quantile.

    Raises:
        ConfigError: if an option is out of range.
    """

    def __init__(
        self,
        every_n_epochs: int = 1,
        thresholds: list[Literal["learned", "quantile"]] | None = None,
        quantile: float = 0.005,
        union: Literal["annotated", "netdissect-lite"] = "annotated",
        natural: bool = True,
    ) -> None:
        policies = EvaluationProtocol().policies if thresholds is None else tuple(thresholds)
        try:
            self.protocol = EvaluationProtocol(policies, quantile, union, natural).check()
        except ValueError as error:
            raise ConfigError(f"dissection.{error}") from error
        if every_n_epochs < 0:
            raise ConfigError(f"dissection.every_n_epochs: expected at least 0, got {every_n_epochs}")
        self.every_n_epochs = every_n_epochs
        self.history: list[dict[str, Any]] = []
        self.detectors: Detectors | None = None
        self.latest: dict[str, Dissection] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say so if there is nothing to dissect with."""
        if self.every_n_epochs and not _labelled(trainer):
            rank_zero_warn("the data has no labels: the basis is learned, but not dissected")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Dissect, if it is due."""
        epoch = trainer.current_epoch + 1
        due = self.every_n_epochs and (epoch % self.every_n_epochs == 0 or is_last(trainer))
        if not due or not _labelled(trainer):
            return
        data = trainer.datamodule.features.share()  # type: ignore[attr-defined]
        natural = self.latest.get("natural")
        self.detectors = pl_module.basis.detectors()
        self.latest = evaluate(self.detectors, data, self.protocol, natural)
        scores = {name: describe(dissection) for name, dissection in self.latest.items()}
        self.history.append({"epoch": trainer.current_epoch, **scores})
        self._log(pl_module, scores)

    def has_done(self, epoch: int) -> bool:
        """Whether the latest dissection is of an epoch, counted from 0, and was made by this process."""
        return bool(self.latest and self.history and self.history[-1]["epoch"] == epoch)

    def state_dict(self) -> dict[str, Any]:
        """The protocol and every epoch's scores, plain types only."""
        protocol = {**self.protocol._asdict(), "policies": list(self.protocol.policies)}
        return {"protocol": protocol, "history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the history of the checkpoint.

        Raises:
            MismatchError: if its protocol was another: its scores do not belong into one history.
        """
        recorded, own = state_dict["protocol"], self.state_dict()["protocol"]
        if recorded != own:
            raise MismatchError(f"dissection: expected the checkpoint's options {recorded}, got {own}")
        self.history = list(state_dict["history"])

    def _log(self, pl_module: LightningModule, scores: dict[str, dict[str, Any]]) -> None:
        first = self.protocol.policies[0]
        for name, values in scores.items():
            for key, value in _flat(values).items():
                # float64, or the logged digits would differ from those of evaluate.py
                exact = torch.tensor(value, dtype=torch.float64)
                shown = name == first and key in ("S1", "S2")
                pl_module.log(f"{name}/{key}", exact, prog_bar=shown, on_epoch=True, on_step=False)


def _labelled(trainer: Trainer) -> bool:
    return bool(trainer.datamodule.features.has_labels)  # type: ignore[attr-defined]


def _flat(values: dict[str, Any]) -> dict[str, float]:
    flat = {key: value for key, value in values.items() if key != "categories"}
    for category, scores in values["categories"].items():
        flat.update({f"{category}/{key}": value for key, value in scores.items()})
    return flat
