"""Cut any network at a named layer into f- and f+, by its traced graph or else by hooks."""

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn

from uibe.errors import ConfigError
from uibe.modules.graph import trace_halves

__all__ = ["Split", "is_feature_map"]

# of the largest logit; a graph that nothing bypasses is right by construction and may differ as GPUs
# do, but a dummy's influence must show even in random networks, whose logits hardly vary
_GRAPH_TOLERANCE, _DUMMY_TOLERANCE = 1e-3, 1e-5


class Split:
    """A network cut at a layer: `upper(lower(images)) == network(images)`.

    Where torch.fx can trace the network, each half runs its own part of the graph. Otherwise `lower`
    leaves the forward pass at the layer, and `upper` replaces the layer's output while the network
    runs on an image of zeros. If the layer runs several times in one forward pass, as the ReLU shared
    inside torchvision's ResNet blocks does, the last call is the cut.

    Args:
        network: in eval mode; not copied, so it may be moved between devices.
        layer: a module's dotted name.
        image_size: height and width of the images on which `upper` is checked, once, at its first use.

    Raises:
        ConfigError: if there is no such layer.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten()).eval()
        >>> split = Split(network, "0", (5, 5))
        >>> images = torch.ones(2, 3, 5, 5)
        >>> torch.equal(split.upper(split.lower(images)), network(images))
        True
    """

    def __init__(self, network: nn.Module, layer: str, image_size: tuple[int, int]) -> None:
        self.network = network
        self.layer = layer
        self.image_size = image_size
        self._module = _find_layer(network, layer)
        self._lower, self._upper = trace_halves(network, self._module)
        self._num_calls: int | None = None
        self._way_up: str | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the graphs, which cannot always be pickled."""
        return {**self.__dict__, "_lower": None, "_upper": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Trace the graphs again."""
        self.__dict__.update(state)
        self._lower, self._upper = trace_halves(self.network, self._module)

    def lower(self, images: Tensor) -> Any:  # noqa: ANN401 # a layer may give anything
        """Run the network up to the layer, f-.

        Args:
            images: `(N, 3, h, w)`.

        Returns:
            What the layer gives, before anything that follows could change it in place.

        Raises:
            ConfigError: if the layer does not run, or not as often as at the first time.
        """
        if self._lower is not None:
            try:
                return fx.Interpreter(self.network, graph=self._lower).run(images)
            except Exception:
                # a graph may trace but not run; if the images are at fault, the network itself says so here
                output = self._run_to_layer(images)
                self._lower = None
                return output
        return self._run_to_layer(images)

    def upper(self, features: Tensor) -> Tensor:
        """Run the rest of the network on the layer's output alone, f+; gradients reach `features`.

        Args:
            features: what `lower` gives; never changed in place.

        Returns:
            The network's output.

        Raises:
            ConfigError: if the rest needs more than the layer's output.
        """
        if self._way_up is None:
            self._way_up = self._find_way_up(features)
        if self._way_up is None:
            raise ConfigError(
                f"layer {self.layer!r}: a branch goes round it, so the rest of the network cannot run on its "
                f"output alone: {self._advice(features)}"
            )
        return self._ways_up()[self._way_up](features)

    def _ways_up(self) -> dict[str, Callable[[Tensor], Tensor]]:
        ways = {
            "one dummy image": lambda features: self._substitute(features, 1),
            # for networks that take the batch size from the images
            "a dummy batch": lambda features: self._substitute(features, len(features)),
        }
        return {"graph": self._run_upper_graph, **ways} if self._upper is not None else ways

    @torch.no_grad()
    def _find_way_up(self, like: Tensor) -> str | None:
        """Return the first way that gives the network's own output on noise, None if something bypasses.

        Noise instead of the dummy's zeros makes every branch that goes round the layer show.
        """
        generator = torch.Generator().manual_seed(0)
        images = torch.randn((2, 3, *self.image_size), generator=generator).to(self._like_network(like))
        features, expected = self.lower(images), self.network(images)
        if not isinstance(expected, Tensor):
            raise ConfigError(f"backbone gives a {type(expected).__name__}, expected one tensor of logits")
        for name, run in self._ways_up().items():
            try:
                found = run(features)
            except Exception:  # noqa: S112 # any failure of foreign code: this way is not open
                continue
            if _agree(found, expected, _GRAPH_TOLERANCE if name == "graph" else _DUMMY_TOLERANCE):
                return name
        return None

    def _advice(self, like: Tensor) -> str:
        """Name a layer that can be cut: first the enclosing blocks, then the top-level ones."""
        parts = self.layer.split(".")
        enclosing = [".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1)]
        names = [name for name, _ in self.network.named_children()]
        start = names.index(parts[0])
        for name in [*enclosing, *names[start + 1 :], *names[:start][::-1]]:
            try:
                other = Split(self.network, name, self.image_size)
                image = torch.zeros(1, 3, *self.image_size).to(self._like_network(like))
                with torch.no_grad():
                    works = is_feature_map(other.lower(image)) and other._find_way_up(like) is not None
            except Exception:  # noqa: S112 # any failure of foreign code: no layer to recommend
                continue
            if works:
                return f"choose layer {name!r}"
        return "choose a layer through which everything passes"

    def _run_upper_graph(self, features: Tensor) -> Tensor:
        # the clone keeps in-place operations off the caller's tensor
        result: Tensor = fx.Interpreter(self.network, graph=self._upper).run(features.clone())
        return result

    def _run_to_layer(self, images: Tensor) -> Any:  # noqa: ANN401
        num_calls = self._count_calls(images)
        seen = 0

        def stop(_module: nn.Module, _inputs: object, output: object) -> None:
            nonlocal seen
            seen += 1
            if seen == num_calls:
                raise _Reached(output)

        with _hooked(self._module, stop):
            try:
                self.network(images)
            except _Reached as reached:
                return reached.output
        raise ConfigError(f"layer {self.layer!r}: how often it runs depends on the image: choose another")

    def _substitute(self, features: Tensor, dummy_batch: int) -> Tensor:
        dummy = torch.zeros(dummy_batch, 3, *self.image_size).to(self._like_network(features))
        num_calls = self._count_calls(dummy)
        seen = 0

        def replace(_module: nn.Module, _inputs: object, _output: object) -> Tensor | None:
            nonlocal seen
            seen += 1
            return features.clone() if seen == num_calls else None

        with _hooked(self._module, replace):
            logits: Tensor = self.network(dummy)
        if seen != num_calls:
            raise ConfigError(f"layer {self.layer!r}: it does not run on every image: choose another")
        return logits

    def _count_calls(self, images: Tensor) -> int:
        """Count the layer's calls in one forward pass; only the first time, later passes are the same."""
        if self._num_calls is None:
            outputs: list[None] = []
            with _hooked(self._module, lambda *_: outputs.append(None)), torch.no_grad():
                self.network(images)
            if not outputs:
                raise ConfigError(f"layer {self.layer!r}: it never runs in a forward pass: choose another")
            self._num_calls = len(outputs)
        return self._num_calls

    def _like_network(self, default: Tensor) -> Tensor:
        return next(self.network.parameters(), default)


def is_feature_map(output: object) -> bool:
    """Tell whether a layer's output on one image is a single `(1, D, H, W)` tensor."""
    return isinstance(output, Tensor) and output.ndim == 4 and len(output) == 1


def _find_layer(network: nn.Module, layer: str) -> nn.Module:
    try:
        if layer:
            return network.get_submodule(layer)
    except AttributeError:
        pass  # answered below
    names = [name for name, _ in network.named_modules() if name]
    closest = difflib.get_close_matches(layer, names, n=5, cutoff=0.4)
    choices = closest or [name for name, _ in network.named_children()]
    raise ConfigError(f"layer {layer!r}: the backbone has no such layer: choose e.g. {', '.join(choices)}")


class _Reached(BaseException):  # not an Exception: a network that catches those must not swallow it
    def __init__(self, output: object) -> None:
        super().__init__()
        self.output = output


@contextmanager
def _hooked(module: nn.Module, hook: Callable[..., Any]) -> Iterator[None]:
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _agree(found: object, expected: Tensor, tolerance: float) -> bool:
    if not isinstance(found, Tensor) or found.shape != expected.shape:
        return False
    largest = expected.abs().max().item() if expected.numel() else 0.0
    return torch.allclose(found, expected, rtol=0, atol=tolerance * largest, equal_nan=True)
