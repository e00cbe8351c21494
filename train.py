"""Learn an interpretable basis: `python train.py`, or `python train.py fit --config configs/X.yaml`."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from pytorch_lightning import LightningModule
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI
from rich.console import Console

from callbacks import CriteriaCallback, DissectionCallback, FiguresCallback, SummaryCallback
from datamodules import FeatureDataModule
from lightning_modules.checkpoint import hyper_parameters, read_checkpoint
from lightning_modules.quiet import quiet
from uibe.errors import one_line_errors

BOARD = {
    "class_path": "pytorch_lightning.loggers.TensorBoardLogger",
    # a run with hp_metric removes the metric columns of all other runs from the hparams tab
    "init_args": {"save_dir": "runs", "name": "uibe", "default_hp_metric": False},
}
DEFAULTS = {
    "model": {"class_path": "lightning_modules.BasisModule"},
    "data": {"class_path": "datamodules.SyntheticDataModule"},
}
SEARCHED = ("best", "last", "hpc", "registry")  # checkpoints that Lightning looks for itself


class TrainCLI(LightningCLI):
    """The options of training; the defaults are those of the signatures and make up the default run."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Training only; evaluation is `evaluate.py`."""
        return {"fit": LightningCLI.subcommands()["fit"]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the callbacks' options, the one seed, and the default model and data."""
        parser.add_lightning_class_args(DissectionCallback, "dissection")
        parser.add_lightning_class_args(CriteriaCallback, "criteria")
        parser.add_lightning_class_args(FiguresCallback, "figures")
        parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
        parser.link_arguments("seed_everything", "model.init_args.seed", compute_fn=int)
        parser.link_arguments("seed_everything", "data.init_args.shuffle_seed", compute_fn=int)
        parser.set_defaults(DEFAULTS)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Read a given checkpoint before Lightning does, which would answer a wrong one with a traceback."""
        super().parse_arguments(parser, args)
        path = self.config[self.config.subcommand].get("ckpt_path")
        if path and path not in SEARCHED:
            _say_replaced(self.config[self.config.subcommand]["model"]["init_args"], read_checkpoint(path))


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; without a subcommand, `fit`.

    Args:
        args: instead of `sys.argv`, for tests.
    """
    given = sys.argv[1:] if args is None else list(args)
    if not given or (given[0].startswith("-") and given[0] not in ("-h", "--help")):
        given.insert(0, "fit")
    if args is None:
        sys.argv[1:] = given  # Lightning's launcher starts the other processes from here
    quiet()
    with one_line_errors(debug="--debug" in given):
        last = ModelCheckpoint(filename="last", enable_version_counter=False, save_on_exception=True)
        TrainCLI(
            LightningModule,
            FeatureDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            seed_everything_default=0,
            save_config_kwargs={"overwrite": True},
            trainer_defaults={
                "max_epochs": 6,
                "devices": 1,
                "log_every_n_steps": 1,
                "enable_model_summary": False,
                "logger": BOARD,
                "callbacks": [SummaryCallback(), last],
            },
            args=None if args is None else given,
        )


def _say_replaced(given: Mapping[str, Any], checkpoint: dict[str, Any]) -> None:
    """Lightning resumes with the checkpoint's model options, whatever the command line or a config says."""
    kept = hyper_parameters(checkpoint)
    differing = [key for key in kept if key in given and given[key] != kept[key]]
    if differing:
        changes = ", ".join(f"{key} {given[key]!r} -> {kept[key]!r}" for key in differing)
        Console(soft_wrap=True).print(f"resuming with the checkpoint's own model options: {changes}")


if __name__ == "__main__":
    main()
