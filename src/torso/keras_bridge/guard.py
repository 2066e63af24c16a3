"""Watch over a run of ``fit``: what is frozen must not move, and what trains must be what was compiled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import cycle
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np

from torso.errors import IntegrityError, OptionError
from torso.keras_bridge.freeze import report_of
from torso.keras_bridge.private import optimized
from torso.keras_bridge.probe import digest_of
from torso.keras_bridge.variables import variables_by_path
from torso.manifest import as_json

if TYPE_CHECKING:
    from torso.backbone import Backbone

SHARE: Final = 0.005
"""How much of the time of a run may go into looking at variables between its steps."""

_NAMED = 6  # variables that an error names


class FreezeGuard(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no complete types
    """A callback for ``fit`` that fails the run when something that is frozen moves.

    It also fails when what trains was changed after ``compile``, which Keras ignores in silence. What is frozen is what the
    backbone's report says (:meth:`torso.Backbone.unfreeze` keeps it), so that a ``model.trainable = True`` around it is
    found before the first step. Between steps it compares variables with what they were, one after the other, for half a
    percent of the time; at the end of the run it compares all of them.

    Args:
        *backbones: Those that are part of the model that is trained. A Keras model may be given instead: then what is
            frozen is what its flags say when the run begins.

    Raises:
        IntegrityError: From ``fit``, naming the variables.
        OptionError: From ``fit``: a backbone is not part of the model that is trained.
    """

    def __init__(self, *backbones: Backbone | keras.Model) -> None:
        super().__init__()
        if not backbones:
            raise OptionError("a FreezeGuard needs what it is to guard", notes=[("fix", "torso.FreezeGuard(backbone)")])
        self._guarded = backbones

    def on_train_begin(self, logs: Any = None) -> None:
        """Find out what is frozen, and look at the flags."""
        compiled = optimized(self.model.optimizer)
        self._trains_now = _ids(self.model.trainable_variables)
        self._frozen: dict[str, Any] = {}
        self._waiting: dict[str, Any] = {}  # what is to train, where nothing tells yet whether it will
        for backbone in self._guarded:
            frozen, training = self._parted(backbone)
            self._frozen |= frozen
            if compiled is None:
                self._waiting |= training
            elif ignored := [path for path, variable in training.items() if id(variable) not in compiled]:
                raise _not_compiled(f"{_counted(ignored)} to train, and the optimizer does not know of that")
        self._were = {path: _digest(variable) for path, variable in (self._frozen | self._waiting).items()}
        known = compiled or set()
        self._turn = cycle(sorted(self._frozen, key=lambda path: id(self._frozen[path]) not in known))
        self._began, self._spent = perf_counter(), 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Make sure that nobody has changed what trains meanwhile."""
        if _ids(self.model.trainable_variables) != self._trains_now:
            raise _not_compiled("what trains was changed in the middle of the run")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Look at the next variable, unless the time for that is spent."""
        now = perf_counter()
        if not self._frozen or self._spent > SHARE * (now - self._began):
            return
        path = next(self._turn)
        if _digest(self._frozen[path]) != self._were[path]:
            self._require_unmoved()
        self._spent += perf_counter() - now

    def on_train_end(self, logs: Any = None) -> None:
        """Look at all variables."""
        self._require_unmoved()
        if self._waiting and not self._moved(self._waiting):
            raise _not_compiled(f"{_counted(list(self._waiting))} to train, and none has moved")

    def _parted(self, backbone: Backbone | keras.Model) -> tuple[dict[str, Any], dict[str, Any]]:
        """The variables of a backbone that must not move, and those that train.

        Raises:
            OptionError: The backbone is not part of the model.
            IntegrityError: Something would move that is frozen.
        """
        model, name = _model(backbone), _name(backbone)
        prefix = f"{backbone.name}/" if len(self._guarded) > 1 else ""
        variables = {prefix + path: variable for path, variable in variables_by_path(model).items()}
        ours = _ids(self.model.variables)
        if strange := [path for path, variable in variables.items() if id(variable) not in ours]:
            raise OptionError(
                f"{name} is not part of the model that is trained: {strange[0]} is not in it",
                notes=[("fix", "guard the backbone that the model was built on; clone_model makes another one")],
            )
        now = as_json(report_of(model))
        told = now if isinstance(backbone, keras.Model) else backbone.manifest["frozen"]
        may_move = {prefix + path for path in (*told["trains"], *told["adapts"])}
        training = {path: variable for path, variable in variables.items() if id(variable) in self._trains_now}
        if moving := sorted({*training, *(prefix + path for path in now["adapts"])} - may_move):
            raise IntegrityError(
                f"{_counted(moving)} frozen in {name}, and would move in this run",
                notes=[("fix", "let it train with backbone.unfreeze(...), or take back what was set to trainable")],
            )
        weights = _ids(model.weights)  # the state of a random generator is none
        frozen = {path: one for path, one in variables.items() if path not in may_move and id(one) in weights}
        return frozen, training

    def _require_unmoved(self) -> None:
        if moved := self._moved(self._frozen):
            raise IntegrityError(
                f"{_counted(moved)} frozen, and moved in training",
                notes=[
                    ("cause", "it was frozen after compile, which Keras ignores; or something else writes into it"),
                    ("fix", "load the values anew, and compile the model again after freezing"),
                ],
            )

    def _moved(self, variables: Mapping[str, Any]) -> list[str]:
        return [path for path, variable in variables.items() if _digest(variable) != self._were[path]]


def _model(backbone: Backbone | keras.Model) -> keras.Model:
    return backbone if isinstance(backbone, keras.Model) else backbone.model


def _name(backbone: Backbone | keras.Model) -> str:
    return f"{'model' if isinstance(backbone, keras.Model) else 'backbone'} {backbone.name!r}"


def _ids(variables: Iterable[Any]) -> set[int]:
    return {id(variable) for variable in variables}


def _digest(variable: Any) -> str:
    return digest_of(np.asarray(variable.numpy()))


def _counted(paths: list[str]) -> str:
    """``3 variables are``, with their names."""
    more = f", … and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return f"{', '.join(paths[:_NAMED])}{more} {'is' if len(paths) == 1 else 'are'}"


def _not_compiled(fact: str) -> IntegrityError:
    return IntegrityError(
        fact,
        notes=[
            ("cause", "trainable was changed after compile, and Keras goes on with what it had"),
            ("fix", "compile the model again, then fit"),
        ],
    )
