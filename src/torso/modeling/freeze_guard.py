"""Watch over a run of ``fit``: what is frozen must not move, and what trains must be what was compiled."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence, Set
from itertools import cycle
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np

from torso.errors import IntegrityError, OptionError
from torso.modeling.freeze import report_of
from torso.modeling.keras_private import inner_layers, optimized
from torso.modeling.variable_paths import leaves, variables_by_path

if TYPE_CHECKING:
    from torso.backbone import Backbone

SHARE: Final = 0.005
"""How much of the time of a run may go into looking at variables between its steps."""

_NAMED = 6  # variables that an error names


class FreezeGuard(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no complete types
    """A callback for ``fit`` that fails the run when something that is frozen moves.

    It also fails when what trains was changed after ``compile`` and Keras ignores that in silence: it reads the flags in the
    first step after ``compile``, and never again unless it runs eagerly. Frozen is what the backbone's report says
    (:meth:`torso.Backbone.unfreeze` keeps it), so that a ``model.trainable = True`` around it is found before the first
    step, and whatever else its flags freeze. Between steps it compares variables with what they were, one after the other,
    for half a percent of the time; at the end of the run it compares all of them.

    Args:
        *backbones: Those that are part of the model that is trained. A Keras model may be given instead: then what is
            frozen is what its flags say when the run begins.

    Raises:
        IntegrityError: From ``fit``, naming the variables.
        OptionError: That is no backbone; or, from ``fit``, it is not part of the model that is trained.
    """

    def __init__(self, *backbones: Backbone | keras.Model) -> None:
        super().__init__()
        fix = ("fix", "torso.FreezeGuard(backbone), or torso.FreezeGuard(left, right) for several")
        if not backbones:
            raise OptionError("a FreezeGuard needs what it is to guard", notes=[fix])
        for one in backbones:
            if not isinstance(getattr(one, "model", one), keras.Model):
                what = type(one).__name__
                raise OptionError(f"a FreezeGuard guards backbones and Keras models, not a {what}", notes=[fix])
        self._guarded = backbones

    def on_train_begin(self, logs: Any = None) -> None:
        """Find out what is frozen, and look at the flags."""
        self._steps = 0
        self._variables, self._function = self.model.variables, self.model.train_function
        self._flags = self._flags_now()
        self._paths: dict[int, str] = {}
        frozen: list[Any] = []
        training: list[Any] = []
        for backbone in self._guarded:
            parts = self._parted(backbone)
            frozen += parts[0]
            training += parts[1]
        known = optimized(self.model.optimizer)
        if known is not None:
            self._require_known(training, known)
        ours = _ids(training)
        self._frozen, self._training = self._watched(frozen), self._watched(training)
        self._others = self._watched(one for one in self.model.trainable_variables if id(one) not in ours)
        self._turn = cycle(self._frozen)
        self._next = next(self._turn, None)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Make sure that nobody has changed what trains meanwhile."""
        self._require_same_flags()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Look at the flags and at the next variable, unless the time for that is spent.

        Before a step, not behind it: flags that are changed behind the last one are meant for the next run.
        """
        if not self._steps:
            self._require_same_flags()  # the last time that Keras may heed a change
        elif self._steps == 1:
            self._look_at_suspects()
            self._began, self._spent = perf_counter(), 0.0  # not before: the first step takes long, for Keras traces it
        else:
            self._look_at_next()
        self._steps += 1

    def on_train_end(self, logs: Any = None) -> None:
        """Look at all variables."""
        self._require_unmoved()
        if not self._steps or not self._training or _any_moved(self._training):
            return
        if _any_moved(self._others) or not self.model.optimizer.built:  # else nothing moves, as at a rate of zero
            fact = f"{_counted([one.path for one in self._training])} to train, and none has moved"
            raise _not_compiled(fact, or_else="; or no gradient reaches them")

    def _parted(self, backbone: Backbone | keras.Model) -> tuple[list[Any], list[Any]]:
        """The variables of a backbone that must not move, and those that train, as far as the model has them.

        Raises:
            OptionError: The backbone is not part of the model.
            IntegrityError: Something would move that is frozen.
        """
        model, name = _model(backbone), _name(backbone)
        prefix = f"{backbone.name}/" if len(self._guarded) > 1 else ""
        ours, everything = _ids(self._variables), variables_by_path(model)
        by_layers = _ids(everything.values())
        everything |= {one.path: one for one in model.weights if id(one) not in by_layers}  # a subclass may have its own
        variables = {path: variable for path, variable in everything.items() if id(variable) in ours}
        if everything and not variables:
            raise OptionError(
                f"{name} is not part of the model that is trained: {next(iter(everything))} is not in it",
                notes=[("fix", "guard the backbone that the model was built on; clone_model makes another one")],
            )
        self._paths |= {id(variable): prefix + path for path, variable in variables.items()}
        trains, adapts, held = _ids(self.model.trainable_variables), report_of(model).adapts, _held(model)
        moves = {path for path, variable in variables.items() if id(variable) in trains or path in adapts}
        if not isinstance(backbone, keras.Model):
            may_move = {*backbone.manifest["frozen"]["trains"], *backbone.manifest["frozen"]["adapts"]}
            if wrong := [prefix + path for path in variables if path in moves - may_move]:
                raise IntegrityError(
                    f"{_counted(wrong)} frozen in {name}, and would move in this run",
                    notes=[("fix", "let it train with backbone.unfreeze(...), or take back what was set to trainable")],
                )
        frozen = [variable for path, variable in variables.items() if id(variable) in held and path not in moves]
        return frozen, [variable for variable in variables.values() if id(variable) in trains]

    def _watched(self, variables: Iterable[Any]) -> list[_Watched]:
        once = {id(variable): variable for variable in variables}
        return [_Watched(self._paths.get(key, variable.path), variable) for key, variable in once.items()]

    def _look_at_suspects(self) -> None:
        """Look at what is frozen and the optimizer was made for all the same, if there is any."""
        known = optimized(self.model.optimizer) or set()
        if _any_moved(one for one in self._frozen if id(one.variable) in known):
            self._require_unmoved()

    def _look_at_next(self) -> None:
        now = perf_counter()
        takes = self._next.seconds if self._next else 0.0
        if self._spent + takes > SHARE * (now - self._began):
            return
        self._require_same_flags()
        if self._next and self._next.moved():
            self._require_unmoved()
        self._next = next(self._turn, None)
        self._spent += perf_counter() - now

    def _flags_now(self) -> list[bool]:
        """What ``model.trainable_variables`` tells, ten times faster; and the same where a model is built meanwhile."""
        return [variable.trainable for variable in self._variables]

    def _require_same_flags(self) -> None:
        """Make sure that what trains is what it was, or begin anew where Keras heeds the change."""
        flags = self._flags_now()
        if flags == self._flags:
            self._function = self.model.train_function
            return
        heeded = self.model.run_eagerly or self.model.train_function is not self._function
        if not heeded and self.model.optimizer.built:
            pairs = zip(self._variables, flags, self._flags, strict=True)
            changed = [self._paths.get(id(one), one.path) for one, new, old in pairs if new != old]
            raise _not_compiled(f"trainable of {_named(changed)} was changed in the middle of the run")
        self._require_unmoved()
        self.on_train_begin()

    def _require_known(self, training: Iterable[Any], known: Set[int]) -> None:
        if ignored := [self._paths[id(variable)] for variable in training if id(variable) not in known]:
            raise _not_compiled(f"{_counted(ignored)} to train, and the optimizer does not know of that")

    def _require_unmoved(self) -> None:
        if moved := [one.path for one in self._frozen if one.moved()]:
            raise IntegrityError(
                f"{_counted(moved)} frozen, and moved in training",
                notes=[
                    ("cause", "it was frozen after compile, which Keras ignores; or something else writes into it"),
                    ("fix", "load the values anew, and compile the model again, with a new optimizer, after freezing"),
                ],
            )


class _Watched:
    """A variable, and what it was.

    Attributes:
        path: Its path, as an error names it.
        variable: The variable.
        seconds: How long it took to look at it.
    """

    def __init__(self, path: str, variable: Any) -> None:
        self.path, self.variable = path, variable
        self._was = self._look()

    def moved(self) -> bool:
        """Whether one bit is another."""
        return self._look() != self._was

    def _look(self) -> bytes:
        start = perf_counter()
        values = np.ascontiguousarray(self.variable.numpy())
        digest = hashlib.sha256(values.view(np.uint8).data).digest()
        self.seconds = perf_counter() - start
        return digest


def _any_moved(watched: Iterable[_Watched]) -> bool:
    return any(one.moved() for one in watched)


def _held(model: keras.Model) -> set[int]:
    """The ids of the weights that stand still unless they are said to move.

    Those are all of a layer that is frozen, and of any other those that were made to train; what it counts or collects
    beside them is its own affair.
    """
    return {
        id(weight)
        for whole in (model, *(leaf for _, leaf in leaves(model)))
        for layer in inner_layers(whole)
        for weight in layer.weights
        if not layer.trainable or weight.value.trainable  # TensorFlow's flag: that of Keras follows the layer's
    }


def _model(backbone: Backbone | keras.Model) -> keras.Model:
    return backbone if isinstance(backbone, keras.Model) else backbone.model


def _name(backbone: Backbone | keras.Model) -> str:
    return f"{'model' if isinstance(backbone, keras.Model) else 'backbone'} {backbone.name!r}"


def _ids(variables: Iterable[Any]) -> set[int]:
    return {id(variable) for variable in variables}


def _named(paths: Sequence[str]) -> str:
    more = f", … and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return f"{', '.join(paths[:_NAMED])}{more}"


def _counted(paths: Sequence[str]) -> str:
    """The names of variables, and ``is`` or ``are``."""
    return f"{_named(paths)} {'is' if len(paths) == 1 else 'are'}"


def _not_compiled(fact: str, or_else: str = "") -> IntegrityError:
    return IntegrityError(
        fact,
        notes=[
            ("cause", f"trainable was changed after the optimizer was built, and Keras goes on with what it had{or_else}"),
            ("fix", "compile the model again, with a new optimizer, then fit"),
        ],
    )
