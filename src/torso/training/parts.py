"""The parts of a backbone: its weights by level, and two models that share its layers."""

from typing import Any

import keras

from torso.errors import CutError
from torso.graph import LEVELS, Graph
from torso.graph.clean_cuts import require_clean
from torso.modeling.functional import outputs_of
from torso.modeling.variable_paths import leaves


def variables_by_level(model: keras.Model, graph: Graph) -> dict[str, tuple[Any, ...]]:
    layers, found, taken = dict(leaves(model)), dict[str, tuple[Any, ...]](), set[int]()
    levels = {graph.position(node): level for level, node in graph.levels.items() if level in LEVELS}
    for position, level in [*sorted(levels.items()), (-1, "end")]:
        names = graph.ancestors(*(graph.ends if position < 0 else [graph.nodes[position].name]))
        nodes = (node for node in graph if node.name in names and not node.is_op)
        new = {id(one): one for node in nodes for one in layers[node.weights_of].weights if id(one) not in taken}
        if new or level != "end":
            found[level] = tuple(new.values())
        taken.update(new)
    return found


def body_and_tail(model: keras.Model, graph: Graph, cut: str) -> tuple[keras.Model, keras.Model]:
    node = graph[graph.node_of_level(cut) if cut in LEVELS else graph.levels.get(cut, cut)]
    require_clean(graph, [node.name], fix="")
    if not node.inputs or node.name in graph.ends:
        raise CutError(f"a cut at {node.name!r} leaves nothing {'after' if node.inputs else 'before'} it")
    middle = output_of(model, graph, node.name)
    body = keras.Model(model.input, middle, name=f"{model.name}_body")
    tail = keras.Model(middle, outputs_of(model), name=f"{model.name}_tail")
    tail.operations[0].name = f"{tail.name}_input"  # Keras names it after a count of all tensors
    return body, tail


def output_of(model: keras.Model, graph: Graph, name: str) -> Any:
    """The symbolic tensor that a node of a model gives."""
    ops = {op.name: op for op in model.operations}
    if name not in ops:
        fact = f"{name!r} of {graph.name} lies within a nested model, or is one of several calls of a layer"
        clean = [node.name for node in graph.clean_cuts if node.name in ops]
        raise CutError(fact, notes=[("clean cuts outside", ", ".join(clean[-6:]))])
    return ops[name].output
