"""Build a network by name, from torchvision, timm or an import path, and put weights into it."""

import difflib
import importlib
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPException
from typing import Any, get_args, get_type_hints

import timm
import torch
import torchvision
from torch import nn

from uibe.errors import ConfigError, printable
from uibe.modules.preprocessing import IMAGENET, Preprocessing, with_metadata
from uibe.modules.weights import Weights, is_library_name, load_weights, read_weights

__all__ = ["LoadedNetwork", "load_network"]

_SEED = 0  # of random weights
_GOOGLE = ("googlenet", "inception_v3")  # torchvision's two networks with auxiliary classifiers
_AUXILIARY = ("AuxLogits.", "aux1.", "aux2.")
# in turn: no connection, a broken one, a damaged file, timm without its downloader
_DOWNLOAD_ERRORS = (OSError, HTTPException, RuntimeError, ImportError)


@dataclass(frozen=True)
class LoadedNetwork:
    """A network with its weights and what comes with them.

    Attributes:
        network: on the CPU, in train mode as its library leaves it.
        preprocessing: the input that the weights expect.
        class_names: names of the outputs in order, None if unknown.
    """

    network: nn.Module
    preprocessing: Preprocessing
    class_names: list[str] | None


def load_network(backbone: str, weights: str | None) -> LoadedNetwork:
    """Build a network and load its weights; torch's global random state stays as it is.

    Args:
        backbone: `torchvision:NAME`, `timm:NAME`, or `package.module:callable` (also with a dot) for
            anything that returns a module when called without arguments.
        weights: None for random ones, always the same; a library's own name (`DEFAULT`, a tag,
            `pretrained`), which is downloaded; a file or `package:NAME` (see `read_weights`).

    Returns:
        The network. It is built with as many classes as the weights have.

    Raises:
        ConfigError: if the name is unknown, or the weights cannot be had or do not fit.
    """
    library, _, name = backbone.partition(":")
    with _fixed_random_state():
        if library == "torchvision":
            return _load_torchvision(name, weights)
        if library == "timm":
            return _load_timm(name, weights)
        return _load_imported(backbone, weights)


def _load_torchvision(name: str, weights: str | None) -> LoadedNetwork:
    _check_name("torchvision", name, _torchvision_names())
    default = replace(IMAGENET, size=(299, 299)) if name == "inception_v3" else IMAGENET
    if weights is not None and is_library_name(weights):
        return _download_torchvision(name, weights)
    options: dict[str, Any] = {"init_weights": False, "aux_logits": False} if name in _GOOGLE else {}
    if weights is None:
        return LoadedNetwork(torchvision.models.get_model(name, weights=None, **options), default, None)
    found = _without_auxiliary(read_weights(weights))
    if name in _GOOGLE:
        # as torchvision does for its own weights, which were trained on inputs in -1..1
        options["transform_input"] = found.num_classes == 1000
    network = torchvision.models.get_model(name, weights=None, **_classes(found), **options)
    return _loaded(network, found, default)


def _download_torchvision(name: str, weights: str) -> LoadedNetwork:
    choices = torchvision.models.get_model_weights(name)
    if weights not in choices.__members__:
        raise _unknown_weights(f"torchvision:{name}", weights, list(choices.__members__))
    entry = choices[weights]
    options = {"aux_logits": False} if name in _GOOGLE else {}
    try:
        network = torchvision.models.get_model(name, weights=entry, **options)
    except _DOWNLOAD_ERRORS as error:
        raise _failed_download(f"torchvision:{name}", weights, error) from error
    transforms = entry.transforms()
    side = transforms.crop_size[0]
    preprocessing = Preprocessing((side, side), tuple(transforms.mean), tuple(transforms.std))
    return LoadedNetwork(network, preprocessing, list(entry.meta["categories"]))


def _load_timm(name: str, weights: str | None) -> LoadedNetwork:
    _check_name("timm", name.partition(".")[0], timm.list_models())
    if weights is not None and is_library_name(weights):
        return _download_timm(name, weights)
    if weights is None:
        network = timm.create_model(name, pretrained=False)
        return LoadedNetwork(network, _timm_preprocessing(network), None)
    found = read_weights(weights)
    network = timm.create_model(name, pretrained=False, **_classes(found))
    return _loaded(network, found, _timm_preprocessing(network))


def _download_timm(name: str, weights: str) -> LoadedNetwork:
    bare = name.partition(".")[0]
    tags = [entry.partition(".")[2] for entry in timm.list_pretrained(f"{bare}.*")]
    if weights != "pretrained" and weights not in tags:
        raise _unknown_weights(f"timm:{name}", weights, ["pretrained", *tags])
    try:
        tagged = name if weights == "pretrained" else f"{bare}.{weights}"
        network = timm.create_model(tagged, pretrained=True)
    except _DOWNLOAD_ERRORS as error:
        raise _failed_download(f"timm:{name}", weights, error) from error
    class_names = _imagenet_names(getattr(network, "num_classes", None))
    return LoadedNetwork(network, _timm_preprocessing(network), class_names)


def _timm_preprocessing(network: nn.Module) -> Preprocessing:
    config: Any = getattr(network, "pretrained_cfg", {})
    size = config.get("input_size", (3, *IMAGENET.size))
    mean, std = config.get("mean", IMAGENET.mean), config.get("std", IMAGENET.std)
    return Preprocessing((size[-2], size[-1]), tuple(mean), tuple(std))


def _load_imported(path: str, weights: str | None) -> LoadedNetwork:
    factory = _import_factory(path)
    if weights is None:
        return LoadedNetwork(_call(factory, path, {}), IMAGENET, None)
    if is_library_name(weights):
        raise ConfigError(f"weights {weights!r}: no such file; backbone {path} takes a file or package:NAME")
    found = read_weights(weights)
    accepts_classes = "num_classes" in inspect.signature(factory).parameters
    return _loaded(_call(factory, path, _classes(found) if accepts_classes else {}), found, IMAGENET)


def _import_factory(path: str) -> Callable[..., Any]:
    module, _, name = path.rpartition(":" if ":" in path else ".")
    if not module or not name:
        close = difflib.get_close_matches(path, _torchvision_names(), n=1)
        hint = f", e.g. torchvision:{close[0]}" if close else ""
        forms = "torchvision:NAME, timm:NAME or package.module:callable"
        raise ConfigError(f"backbone {path!r}: expected {forms}{hint}")
    if module.partition(".")[0] in sys.stdlib_module_names:
        # a checkpoint or a folder of others may name anything: os:abort would be called
        raise ConfigError(f"backbone {path!r}: Python's own library holds no networks; name another package")
    try:
        imported = importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(f"backbone {path!r}: cannot import {module!r}: {error}") from error
    factory: Callable[..., Any] | None = getattr(imported, name, None)
    if not callable(factory):
        close = difflib.get_close_matches(name, dir(imported), n=3)
        hint = f": did you mean {', '.join(close)}?" if close else ""
        raise ConfigError(f"backbone {path!r}: module {module!r} has no callable {name!r}{hint}")
    return factory


def _call(factory: Callable[..., Any], path: str, options: dict[str, Any]) -> nn.Module:
    try:
        inspect.signature(factory).bind(**options)
    except TypeError as error:
        raise ConfigError(f"backbone {path!r}: must be callable without arguments: {error}") from error
    if other := _announced(factory):  # not called, as it may do anything
        raise ConfigError(f"backbone {path!r}: returns a {other}, expected a torch.nn.Module")
    network = factory(**options)
    if not isinstance(network, nn.Module):
        kind = type(network).__name__
        raise ConfigError(f"backbone {path!r}: returns a {kind}, expected a torch.nn.Module")
    return network


def _announced(factory: Callable[..., Any]) -> str | None:
    """The name of what a factory says that it returns, if that is no network."""
    returned: Any = factory
    if not inspect.isclass(factory):
        try:
            returned = get_type_hints(inspect.unwrap(factory)).get("return", Any)
        except (NameError, TypeError):  # names that only type checkers know, or no function
            return None
    kinds = [kind for kind in get_args(returned) or (returned,) if inspect.isclass(kind)]
    fits = any(kind in (Any, object) or issubclass(kind, nn.Module) for kind in kinds)
    return None if fits else str(getattr(returned, "__name__", returned))


def _loaded(network: nn.Module, weights: Weights, default: Preprocessing) -> LoadedNetwork:
    load_weights(network, weights)
    preprocessing = with_metadata(default, weights.metadata, weights.source)
    return LoadedNetwork(network, preprocessing, _class_names(weights))


def _class_names(weights: Weights) -> list[str] | None:
    if "class_names" in weights.metadata:
        try:
            return [printable(str(name)) for name in json.loads(weights.metadata["class_names"])]
        except (ValueError, TypeError) as error:
            raise ConfigError(f"weights {weights.source}: metadata class_names is no JSON list") from error
    # packages carry published ImageNet weights; a file with 1000 classes may be anything
    return _imagenet_names(weights.num_classes) if weights.from_package else None


def _imagenet_names(num_classes: int | None) -> list[str] | None:
    names = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
    return list(names) if num_classes == len(names) else None


def _classes(weights: Weights) -> dict[str, Any]:
    return {} if weights.num_classes is None else {"num_classes": weights.num_classes}


def _without_auxiliary(weights: Weights) -> Weights:
    """Drop the classifiers that only training uses; no other torchvision network has such names."""
    kept = {name: value for name, value in weights.tensors.items() if not name.startswith(_AUXILIARY)}
    return replace(weights, tensors=kept)


def _torchvision_names() -> list[str]:
    return list(torchvision.models.list_models(module=torchvision.models))  # classifiers only


def _check_name(library: str, name: str, known: list[str]) -> None:
    if name not in known:
        close = difflib.get_close_matches(name, known, n=5, cutoff=0.4)
        advice = f"did you mean {', '.join(close)}?" if close else f"see {library}'s list of models"
        raise ConfigError(f"backbone '{library}:{name}': {library} has no such classifier: {advice}")


def _unknown_weights(backbone: str, weights: str, known: list[str]) -> ConfigError:
    names = ", ".join(known) or "none"
    return ConfigError(f"weights {weights!r}: neither a file nor a name that {backbone} knows ({names})")


def _failed_download(backbone: str, weights: str, error: Exception) -> ConfigError:
    reason = " ".join(str(error).split())[:120]
    advice = "give a downloaded .pth or .safetensors file instead"
    return ConfigError(f"weights {weights!r}: cannot be downloaded for {backbone} ({reason}): {advice}")


@contextmanager
def _fixed_random_state() -> Iterator[None]:
    """Draw random weights from a fixed seed; only the CPU's generator, where networks are built."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(_SEED)
        yield
