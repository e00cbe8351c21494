"""What a run recommends in the end."""

import pytest
import torch
from pytorch_lightning import LightningModule

from callbacks.summary import _explaining
from uibe.errors import ConfigError
from uibe.modules.backbone import Backbone


class Module(LightningModule):
    """Only a network."""

    def __init__(self, layer: str) -> None:
        super().__init__()
        self.backbone = Backbone("uibe.modules.small_cnn:small_cnn", None, layer, image_size=48)


def test_explaining_is_recommended_without_a_word_where_it_is_exact() -> None:
    assert _explaining(Module("features.4")) == ""


def test_layers_after_the_cut_are_told_and_chance_is_left_alone() -> None:
    module, state = Module("features.2"), torch.get_rng_state()
    assert _explaining(module) == "inexact at this layer: the last one before pooling is exact"
    assert torch.equal(torch.get_rng_state(), state)


def test_explaining_is_left_out_where_the_head_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def bypassed(*args: object) -> None:
        raise ConfigError("a branch goes round the layer")

    monkeypatch.setattr(Backbone, "head", bypassed)
    assert _explaining(Module("features.4")) is None
