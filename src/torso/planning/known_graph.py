"""What is known of a network before it is drawn: the recorded graph of a built-in architecture."""

from dataclasses import replace
from importlib.metadata import version

from torso.builtins.keras_applications import TESTED, record_name, recorded_graph
from torso.graph import Graph, Node
from torso.planning.plan import Plan
from torso.plugins.calling import DEFAULTS, keras_settings


def known_graph(plan: Plan, *, sized: bool = False) -> Graph | None:
    """The graph of the whole headless network, as its builder would draw it; None where it is not recorded.

    At another size than the default, sides and costs are left open, as nothing else depends on it. It is None then if
    ``sized``, or if the strategy or policy of the plan may need to know them.
    """
    architecture, plugin = plan.architecture.value, plan.architecture.plugin
    is_recorded = (
        (plugin.name, plugin.origin) == ("keras", "built-in")
        and plan.arguments == {**architecture.arguments, **plan.options}  # plugins may add others
        and plan.source_channels == architecture.input.weights_channels
        and keras_settings() == {**DEFAULTS, "dtype_policy": "float32"}
        and version("keras") in TESTED
    )
    graph = recorded_graph(record_name(architecture, plan.options)) if is_recorded else None
    if graph is None or plan.input_shape[:2] == architecture.input.default:
        return graph
    for chosen in (plan.truncate, plan.freeze):
        sized |= chosen.contribution.plugin.origin != "built-in" or chosen.options.get("macs") is not None
    return None if sized else replace(graph, nodes=tuple(map(_of_any_size, graph.nodes)))


def _of_any_size(node: Node) -> Node:
    if node.stride is None:
        return node
    return replace(node, shape=(None, None, *node.shape[2:]), macs=node.macs and None, flops=node.flops and None)
