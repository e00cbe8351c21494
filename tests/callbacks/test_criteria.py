"""Label-free figures are logged and can be monitored."""

from pathlib import Path

import pytest
import torch

from callbacks import CriteriaCallback
from datamodules import SyntheticDataModule
from lightning_modules.checkpoint import module_from
from tests.running import Bench, fit, synthetic
from uibe.data.broden import BrodenDataset
from uibe.errors import ConfigError
from uibe.functional.criteria import Criteria, criteria, pixel_sums


def test_figures_of_the_last_epoch_are_those_of_the_checkpoint(bench: Bench, tmp_path: Path) -> None:
    options = ["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.monitor", "criteria/information"]
    run = fit(bench, tmp_path, *options, "--trainer.callbacks.mode", "max", "--criteria.images", "5")
    module = module_from(run.checkpoint)
    arguments = synthetic(bench.root, bench.cache)
    given = {
        name.removeprefix("--data."): value
        for name, value in zip(arguments[::2], arguments[1::2], strict=True)
    }
    numbers = {name: int(value) if value.isdigit() else value for name, value in given.items()}
    store = SyntheticDataModule(**numbers).open(module.backbone)
    assert isinstance(store.images, BrodenDataset)
    pixels = next(iter(store.feature_batches("val")))[:5].permute(0, 2, 3, 1).flatten(0, 2)
    with torch.no_grad():
        expected = criteria(pixel_sums(module.basis(pixels)))
    monitored = [
        state for name, state in run.checkpoint["callbacks"].items() if "criteria/information" in name
    ]
    assert len(monitored) == 1
    assert float(monitored[0]["current_score"]) == pytest.approx(expected.information, rel=1e-4)


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="every_n_epochs >= 0"):
        CriteriaCallback(every_n_epochs=-1)
    with pytest.raises(ConfigError, match="images >= 1"):
        CriteriaCallback(images=0)


def test_names_are_documented() -> None:
    described = Criteria.__doc__ or ""
    assert all(f"{name}:" in described for name in Criteria._fields)
