"""Guard a run of ``fit``: an error where what is frozen moves, a warning where what is to train does not."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from torso.errors import FreezeWarning, IntegrityError, OptionError
from torso.modeling.freeze import disagreements, listed, report_of
from torso.modeling.keras_private import inner_layers, optimized
from torso.modeling.variable_paths import leaves, variables_by_path

if TYPE_CHECKING:
    from torso.backbone import Backbone

_warn = partial(warnings.warn, category=FreezeWarning, stacklevel=2)


class FreezeGuard(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no complete types
    """A callback for ``fit`` that fails the run when a frozen variable changes.

    It warns (``torso.FreezeWarning``) where something is to train and does not: Keras reads ``trainable`` in the first step
    after ``compile``, and never again unless it runs eagerly. It also warns where rates of dropout are not what flags say. A
    variable is frozen if the backbone's report (:meth:`torso.Backbone.freeze` and ``unfreeze`` update it) or its flag says
    so; a ``model.trainable = True`` around a frozen backbone fails before the first step. All frozen variables are compared
    after the first step, and at the end of each epoch and of the run. Each comparison takes about 0.1 s per 100 MB.

    Args:
        *backbones: Those in the model that is trained. For a Keras model, frozen is what its flags say as the run begins.

    Raises:
        IntegrityError: From ``fit``, naming the variables.
        OptionError: An argument is no backbone; or, from ``fit``, it is not part of the model that is trained.
    """

    def __init__(self, *backbones: Backbone | keras.Model) -> None:
        super().__init__()
        if not backbones or not all(isinstance(getattr(one, "model", one), keras.Model) for one in backbones):
            fix = "torso.FreezeGuard(backbone), or torso.FreezeGuard(left, right) for several"
            raise OptionError("a FreezeGuard takes one or more backbones or Keras models", notes=[("fix", fix)])
        self._guarded = backbones

    def on_train_begin(self, logs: Any = None) -> None:
        """Find out what is frozen."""
        self._steps = 0
        self._variables, self._function = self.model.variables, self.model.train_function
        self._flags = [variable.trainable for variable in self._variables]
        self._paths: dict[int, str] = {}
        parts = [self._frozen_and_training(backbone) for backbone in self._guarded]
        frozen, training = ([variable for part in parts for variable in part[which]] for which in (0, 1))
        known, ours = optimized(self.model.optimizer), _ids(training)
        if known is not None and (ignored := [self._path(one) for one in training if id(one) not in known]):
            _warn(str(_not_compiled(f"{listed(ignored)} to train, and the optimizer does not know of that")))
            training = []  # that they do not move is said already
        for line in (line for one in self._guarded for line in disagreements(getattr(one, "model", one))):
            _warn(line)
        self._parts = frozen, training, [one for one in self.model.trainable_variables if id(one) not in ours]
        self._frozen, self._training, self._others = map(_hashed, ((), (), ()))

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Check the flags; before the first step, hash what is frozen, and after it, compare that."""
        # Before a step and not after one: what is set after the last step is meant for the next run.
        self._require_same_flags()
        if self._steps == 0:  # not as the run begins: BackupAndRestore sets values then
            self._frozen, self._training, self._others = map(_hashed, self._parts)
        elif self._steps == 1:
            self._require_unchanged()
        self._steps += 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Compare all frozen variables."""
        self._require_unchanged()

    def on_train_end(self, logs: Any = None) -> None:
        """Compare all frozen variables, and warn if nothing that is to train has changed."""
        self._require_unchanged()
        if not self._training or _changed(self._training):
            return
        if _changed(self._others) or not self.model.optimizer.built:  # else nothing changes, as at a rate of zero
            paths = [self._path(variable) for variable, _ in self._training]
            _warn(str(_not_compiled(f"{listed(paths)} to train, and none has moved", "; or no gradient reaches them")))

    def _frozen_and_training(self, backbone: Backbone | keras.Model) -> tuple[list[Any], list[Any]]:
        """The variables of a backbone that must not change, and those that train, as far as the model has them."""
        model = backbone if isinstance(backbone, keras.Model) else backbone.model
        name = f"{'model' if model is backbone else 'backbone'} {backbone.name!r}"
        prefix = f"{backbone.name}/" if len(self._guarded) > 1 else ""
        everything = variables_by_path(model)
        by_layers = _ids(everything.values())
        everything |= {one.path: one for one in model.weights if id(one) not in by_layers}  # a subclass may have its own
        ours = _ids(self._variables)
        variables = {path: variable for path, variable in everything.items() if id(variable) in ours}
        if everything and not variables:
            fact = f"{name} is not part of the model that is trained: {next(iter(everything))} is not in it"
            fix = "guard the backbone that the model was built on; clone_model makes another one"
            raise OptionError(fact, notes=[("fix", fix)])
        self._paths |= {id(variable): prefix + path for path, variable in variables.items()}
        trains, adapts, held = _ids(self.model.trainable_variables), report_of(model).adapts, _held(model)
        moves = {path for path, variable in variables.items() if id(variable) in trains or path in adapts}
        if not isinstance(backbone, keras.Model):
            may_move = {*backbone.record.frozen.trains, *backbone.record.frozen.adapts}
            if wrong := [prefix + path for path in variables if path in moves - may_move]:
                fix = "let it train with backbone.unfreeze(...), or take back what was set to trainable"
                raise IntegrityError(f"{listed(wrong)} frozen in {name}, and would move in this run", notes=[("fix", fix)])
        frozen = [variable for path, variable in variables.items() if id(variable) in held and path not in moves]
        return frozen, [variable for variable in variables.values() if id(variable) in trains]

    def _path(self, variable: Any) -> str:
        return self._paths.get(id(variable), str(variable.path))

    def _require_same_flags(self) -> None:
        """Refuse changed flags, or begin anew where Keras heeds the change."""
        # Ten times faster than model.trainable_variables, and the same where a subclassed model is built meanwhile.
        flags = [variable.trainable for variable in self._variables]
        if flags == self._flags:
            self._function = self.model.train_function
            return
        heeded = self.model.run_eagerly or self.model.train_function is not self._function
        if not heeded and self.model.optimizer.built:
            pairs = zip(self._variables, flags, self._flags, strict=True)
            changed = {self._path(variable): new for variable, new, old in pairs if new != old}
            error = _not_compiled(f"{listed(list(changed))} frozen or unfrozen in the middle of the run")
            if not all(changed.values()):
                raise error
            self._flags = flags
            _warn(str(error))
        else:
            self._require_unchanged()
            self.on_train_begin()

    def _require_unchanged(self) -> None:
        if moved := [self._path(variable) for variable in _changed(self._frozen)]:
            cause = "it was frozen after compile, which Keras ignores; or something else writes into it"
            fix = "load the values anew, and compile the model again, with a new optimizer, after freezing"
            raise IntegrityError(f"{listed(moved)} frozen, and moved in training", notes=[("cause", cause), ("fix", fix)])


def _hashed(variables: Iterable[Any]) -> list[tuple[Any, bytes]]:
    """Variables, each once, with the hashes of their values."""
    return [(variable, _digest(variable)) for variable in {id(variable): variable for variable in variables}.values()]


def _changed(hashed: list[tuple[Any, bytes]]) -> list[Any]:
    return [variable for variable, digest in hashed if _digest(variable) != digest]


def _digest(variable: Any) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(variable.numpy()).view(np.uint8).data).digest()


def _held(model: keras.Model) -> set[int]:
    """The ids of all weights of frozen layers, and of those made to train in others: the rest may hold a layer's counts."""
    return {
        id(weight)
        for whole in (model, *(leaf for _, leaf in leaves(model)))
        for layer in inner_layers(whole)
        for weight in layer.weights
        if not layer.trainable or weight.value.trainable  # TensorFlow's flag: Keras' own follows the layer's
    }


def _ids(variables: Iterable[Any]) -> set[int]:
    return {id(variable) for variable in variables}


def _not_compiled(fact: str, or_else: str = "") -> IntegrityError:
    cause = f"trainable was changed after the optimizer was built, and Keras goes on with what it had{or_else}"
    return IntegrityError(fact, notes=[("cause", cause), ("fix", "compile the model again, with a new optimizer, then fit")])
