"""L2 regularizers for a truncated model: plain Keras adds them to the loss, also after loading."""

from dataclasses import replace
from typing import Any

import keras

from torso.errors import OptionError
from torso.modeling.build import BuiltModel
from torso.modeling.graph_reader import read_graph
from torso.modeling.keras_private import seeded
from torso.modeling.truncate import cut
from torso.planning import Plan


def regularize(built: BuiltModel, plan: Plan) -> BuiltModel:
    """The same model, made anew from its configuration with regularizers: Keras reads them when it makes the variables."""
    asked, given = plan.regularize, list[str]()
    keys = {f"{kind}_regularizer" for kind in ("kernel", "depthwise", "pointwise", "recurrent", "embeddings")}
    keys |= {"gamma_regularizer", "beta_regularizer"} if asked["norm"] else set()
    keys |= {"bias_regularizer"} if asked["bias"] else set()
    penalty = keras.saving.serialize_keras_object(keras.regularizers.L2(asked["l2"]))

    def change(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(map(change, value))
        if not isinstance(value, dict):
            return value
        given.extend(keys & value.keys())
        return {key: penalty if key in keys else change(below) for key, below in value.items()}

    with seeded(plan.weights.seed):
        model = cut(built.model, None, built.model.name, change=change)
    if not given:
        fact = f"no layer of {plan.architecture.value.name} takes a regularizer"
        raise OptionError(fact, notes=[("fix", "leave regularize out")])
    return replace(built, model=model, graph=read_graph(model, built.graph.name).knowing(built.graph.levels))
