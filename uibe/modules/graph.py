"""Trace a network with torch.fx and cut its graph at a layer."""

from torch import fx, nn

__all__ = ["trace_halves"]


def trace_halves(network: nn.Module, layer: nn.Module) -> tuple[fx.Graph | None, fx.Graph | None]:
    """Cut a network's traced graph at a layer.

    Args:
        network: in the mode (train or eval) in which it will run; not changed.
        layer: one of its modules.

    Returns:
        The graphs below and above the layer's last call, to be run by `fx.Interpreter` on the network
        itself; both None where tracing fails, the second one also where something bypasses the layer.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        >>> below, above = trace_halves(network, network[0])
        >>> [str(node.target) for node in above.nodes]
        ['features', '1', 'output']
    """
    try:
        graph = _Tracer(layer).trace(network)
    except Exception:  # foreign code fails to trace in any way it likes: hooks do instead
        return None, None
    calls = [node for node in graph.nodes if node.op == "call_module"]
    calls = [node for node in calls if network.get_submodule(str(node.target)) is layer]
    return (_below(graph, calls[-1]), _above(graph, calls[-1])) if calls else (None, None)


class _Tracer(fx.Tracer):
    """Keep the cut layer whole, and all modules without children: control flow inside them is harmless."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self._layer = layer

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        childless = next(m.children(), None) is None
        return m is self._layer or childless or super().is_leaf_module(m, module_qualified_name)


def _below(graph: fx.Graph, cut: fx.Node) -> fx.Graph:
    """Copy everything up to the cut, in order, used or not: it may act in place on what is used."""
    below, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    for node in graph.nodes:
        copies[node] = below.node_copy(node, copies.__getitem__)
        if node is cut:
            break
    below.output(copies[cut])
    return below


def _above(graph: fx.Graph, cut: fx.Node) -> fx.Graph | None:
    """Copy everything after the cut; None if it uses more of what was before than the cut and parameters."""
    above = fx.Graph()
    copies = {cut: above.placeholder("features")}
    passed = False
    for node in graph.nodes:
        if node is cut:
            passed = True
        elif passed or node.op == "get_attr":
            try:
                copies[node] = above.node_copy(node, copies.__getitem__)
            except KeyError:
                return None
    return above
