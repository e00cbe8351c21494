"""Learn an interpretable basis: `python train.py`, or `python train.py fit --config configs/X.yaml`."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import yaml
from jsonargparse import Namespace, set_parsing_settings
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI
from pytorch_lightning.plugins.io import CheckpointIO
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from rich.console import Console

from callbacks import (
    BoardCallback,
    CriteriaCallback,
    DissectionCallback,
    FiguresCallback,
    FormingCallback,
    RunCheckpoint,
    SummaryCallback,
)
from datamodules import FeatureDataModule
from lightning_modules.checkpoint import hyper_parameters, read_checkpoint
from lightning_modules.checkpoint_io import AtomicCheckpointIO
from lightning_modules.configs import bound_parsers, check_configs
from lightning_modules.quiet import quiet
from lightning_modules.resume import run_to_resume
from uibe.errors import ConfigError, one_line_errors, printable

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
        parser.add_lightning_class_args(FormingCallback, "forming")
        parser.add_lightning_class_args(BoardCallback, "board")
        parser.add_lightning_class_args(RunCheckpoint, "checkpoint")
        parser.add_argument(
            "--resume",
            type=Literal["auto"] | None,
            help="auto: go on with the newest run below the logger's folder that has the same options, "
            "wherever it was stopped, or begin one",
        )
        parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
        parser.link_arguments("seed_everything", "model.init_args.seed", compute_fn=int)
        parser.link_arguments("seed_everything", "data.init_args.shuffle_seed", compute_fn=int)
        parser.set_defaults(DEFAULTS)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Read a given checkpoint before Lightning does, which would answer a wrong one with a traceback."""
        super().parse_arguments(parser, args)
        options = self.config[self.config.subcommand]
        if options.resume:
            self._resume(parser, options)
        path = options.get("ckpt_path")
        if path and path not in SEARCHED:
            _say_replaced(options["model"]["init_args"], read_checkpoint(path))

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:  # noqa: ANN401 - Lightning's signature
        """With checkpoints that are whole or not there, unless another way of writing them is asked for."""
        given = self.config_init[self.config_init.subcommand].trainer.plugins or []
        plugins = given if isinstance(given, list) else [given]
        other = any(isinstance(plugin, CheckpointIO) for plugin in plugins)
        plugins = plugins if other else [*plugins, AtomicCheckpointIO()]
        try:
            return super().instantiate_trainer(plugins=plugins, **kwargs)
        except (ValueError, MisconfigurationException) as error:  # of values that no parser looks at
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ConfigError(f"trainer: {reason}") from error

    def _resume(self, parser: LightningArgumentParser, options: Namespace) -> None:
        if options.get("ckpt_path"):
            raise ConfigError("--resume and --ckpt_path: give one of them")
        whole = yaml.safe_load(parser.dump(self.config))
        found = run_to_resume(whole[self.config.subcommand])
        if found is not None:
            console = Console(soft_wrap=True)
            console.print(f"going on with {found.checkpoint}", markup=False, highlight=False)
            options["ckpt_path"] = str(found.checkpoint)
            logger = options["trainer"]["logger"]
            first = logger[0] if isinstance(logger, list) else logger
            first["init_args"]["version"] = found.version


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
    # nothing there is a part of a training, and much of it is a program: it is not even imported
    denied = sorted(sys.stdlib_module_names)
    set_parsing_settings(import_path_denylist=denied, instantiate_subclass_spec_in_any=False)
    with one_line_errors(debug="--debug" in given):
        check_configs(given)
        bound_parsers()
        TrainCLI(
            LightningModule,
            FeatureDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            seed_everything_default=0,
            save_config_kwargs={"overwrite": True},
            parser_kwargs={"allow_abbrev": False},
            trainer_defaults={
                "max_epochs": 6,
                "devices": 1,
                "log_every_n_steps": 1,
                "enable_model_summary": False,
                "logger": BOARD,
                "callbacks": [SummaryCallback()],
            },
            args=None if args is None else given,
        )


def _say_replaced(given: Mapping[str, Any], checkpoint: dict[str, Any]) -> None:
    """Lightning resumes with the checkpoint's model options, whatever the command line or a config says."""
    kept = hyper_parameters(checkpoint)
    differing = [key for key in kept if key in given and given[key] != kept[key]]
    if differing:
        changes = ", ".join(f"{key} {given[key]!r} -> {kept[key]!r}" for key in differing)
        line = f"resuming with the checkpoint's own model options: {printable(changes)}"
        Console(soft_wrap=True).print(line, markup=False)


if __name__ == "__main__":
    main()
