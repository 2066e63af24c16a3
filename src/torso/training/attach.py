"""Find a backbone in a classifier by its graph: as a nested model, or with its layers among the classifier's own."""

import hashlib
from contextlib import suppress
from typing import Any

import keras

from torso.errors import CutError, OptionError
from torso.graph import Graph
from torso.model_config.layer_settings import settings_in_inference
from torso.modeling.functional import functional, outputs_of, restore_names
from torso.modeling.graph_reader import read_graph
from torso.modeling.keras_private import inner_layers
from torso.training.parts import output_of


def find_backbone(classifier: keras.Model, saved: keras.Model, graph: Graph, name: str) -> keras.Model:
    """The part of a classifier that has the graph of a saved backbone, as a model of the classifier's own layers."""
    if not isinstance(classifier, keras.Model):
        raise OptionError("attach takes a Keras model first", notes=[("fix", "load it with keras.models.load_model(…)")])
    wanted, found, closest = _signatures(graph), list[tuple[keras.Model, Graph, list[str]]](), 0
    for model in (one for one in inner_layers(classifier) if isinstance(one, keras.Model)):
        with suppress(CutError):  # the code of a subclass has no graph; models within it are others of these
            there = read_graph(plain := functional(model, model.name), model.name)
            names = {signature: node for node, signature in _signatures(there).items()}
            have = [wanted[node.name] in names for node in graph]
            closest = max(closest, [*have, False].index(False))
            if all(have):
                found.append((plain, there, [names[wanted[end]] for end in graph.ends]))
    if not found:
        notes = [("fix", "name the folder of the backbone that it was built on")]
        if closest > 1:
            notes.insert(0, ("cause", f"{graph.nodes[closest].name!r} is not in it, or computes something else"))
        raise OptionError(f"nothing in {classifier.name!r} has the graph of backbone {name!r}", notes=notes)
    if len(found) > 1:
        notes = [("found", ", ".join(repr(model.name) for model, *_ in found))]
        notes.append(("fix", "give torso.attach one of these models in place of the whole"))
        raise OptionError(f"{len(found)} models in {classifier.name!r} have the graph of {name!r}", notes=notes)
    model, there, ends = found[0]
    if len(there) > len(graph) or there.ends != tuple(ends):
        (image,) = (node.name for node in there.kept(*ends) if not node.inputs)
        tensors: Any = [output_of(model, there, end) for end in ends]
        outputs = outputs_of(saved)
        if isinstance(outputs, dict):
            tensors = dict(zip(outputs, tensors, strict=True))
        model = keras.Model(output_of(model, there, image), tensors if len(tensors) > 1 else tensors[0], name=name)
    restore_names(model, saved.get_config())
    return model


def _signatures(graph: Graph) -> dict[str, str]:
    """By node, a hash of how it is computed from the image: equal for two nodes that are computed alike."""
    found: dict[str, str] = {}
    for node in graph:
        name = "" if node.is_op else node.name  # Keras may lose that of an op
        parts = [name, node.parameters, settings_in_inference(node.settings), *(found[one] for one in node.inputs)]
        text = "|".join(map(str, [node.kind, *(parts if node.inputs else [])]))
        found[node.name] = hashlib.sha256(text.encode()).hexdigest()
    return found
