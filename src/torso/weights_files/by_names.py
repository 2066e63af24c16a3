"""Find the layers of a network in a weights file by their names, wherever they are in it: in a classifier, or a part of one.

Names that Keras numbers, as ``conv2d_7``, start at another number in each file. Those of one kind are found by their order.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from torso.weights_files.stored import Owner, StoredArray, StoredWeights, of_another

Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Wanted:
    """A layer of the network that has weights of its own."""

    owner: Owner
    shapes: Shapes
    at: int | None  # its position in the truncated model; None for those after the cut, which the file need not have


@dataclass
class Reading:
    """What the part of a file within one model holds for the network."""

    root: Owner  # of that model
    found: dict[Owner, tuple[StoredArray, ...]] = field(default_factory=dict)
    missing: list[Owner] = field(default_factory=list)
    doubts: list[tuple[Owner, list[Owner]]] = field(default_factory=list)  # and the names that it may have in the file


def find_by_names(wanted: Sequence[Wanted], stored: StoredWeights, counted: Collection[str]) -> Reading:
    """The only reading that gives all kept layers their arrays; an IntegrityError if there is none, or more than one.

    ``counted`` has the names in the network that Keras numbers.
    """
    deepest = None if stored.layers is None else 2  # below that, the older format has scopes in place of models
    roots = {owner[:length] for owner in stored.by_owner for length in range(len(owner))[:deepest]} or {()}
    readings = [_within(root, wanted, stored, counted) for root in sorted(roots)]
    complete = [one for one in readings if not one.missing and not one.doubts]
    right = [one for one in complete if all(_shapes(one.found[each.owner]) == each.shapes for each in _kept(wanted))]
    several = {tuple(one.found[each.owner] for each in _kept(wanted)): one for one in right or complete}
    if len(several) == 1:
        (reading,) = several.values()
        if problems := list(_contradictions(reading, wanted, stored)):
            raise of_another(stored.path, problems)
        return reading
    best = max(readings, key=lambda one: (len(one.found), -len(one.doubts)))
    if several:
        models = sorted(one.root for one in several.values())
        cause = f"{' and '.join(map(_text, models))} of the file both have the layers of the network"
        fix = f"save the one that is meant by itself: {_getter(models[-1])}.save_weights('backbone.weights.h5')"
    elif best.doubts and not best.missing:
        (owner, names), *_ = best.doubts
        cause = f"{_text(owner)} of the network may be {' or '.join(map(_text, names))} of the file"
        fix = f"rename the one that is not the backbone's, and save again: {_getter(names[0])}.name = 'mine'"
    else:
        raise of_another(stored.path, *_missing(best, wanted, stored))
    raise of_another(stored.path, [cause], fact="can be read in more than one way", fix=fix)


def left_over(used: Iterable[Sequence[StoredArray]], stored: StoredWeights) -> str:
    """What is in the file and not in the network, as ``2 arrays of 'dense'``; empty if nothing is."""
    taken = set(used)
    left = {owner: arrays for owner, arrays in stored.by_owner.items() if arrays not in taken}
    names = [*map(_text, left)]
    count = sum(map(len, left.values()))
    return f"{count} array{'s' * (count > 1)} of {', '.join(names[:3])}{', …' * (len(names) > 3)}" if left else ""


def _within(root: Owner, wanted: Sequence[Wanted], stored: StoredWeights, counted: Collection[str]) -> Reading:
    reading = Reading(root)
    inside = {owner[len(root) :]: arrays for owner, arrays in stored.by_owner.items() if owner[: len(root)] == root}
    is_scoped = bool(stored.layers and root)  # in the older format, with the builder's scopes, and without inner models
    by_last: dict[str, list[Owner]] = {}
    for owner in inside if is_scoped else ():
        by_last.setdefault(owner[-1], []).append(owner)
    bases = {split(name)[0] for name in counted}
    by_kind: dict[Owner, list[tuple[tuple[int, ...], Owner]]] = {}
    for owner in inside:
        kind, numbers = _kind(owner, lambda name: split(name)[0] in bases)
        by_kind.setdefault(kind, []).append((numbers, owner))
    ours: dict[Owner, list[tuple[tuple[int, ...], Wanted]]] = {}
    for one in wanted:
        kind, numbers = _kind(one.owner, counted.__contains__)
        if numbers:
            ours.setdefault(kind, []).append((numbers, one))
        elif len(alike := [one.owner] if one.owner in inside else by_last.get(one.owner[-1], [])) == 1:
            reading.found[one.owner] = inside[alike[0]]
        elif one.at is not None:
            reading.missing.append(one.owner)
    for kind, group in ours.items():
        group.sort(key=lambda one: one[0])
        kin = [kind[skipped:] for skipped in range(len(kind) if is_scoped else 1)]
        theirs = next((sorted(by_kind[one]) for one in kin if one in by_kind), [])
        ways = _ways(group, [(numbers, _shapes(inside[owner])) for numbers, owner in theirs])
        kept = [index for index, (_, one) in enumerate(group) if one.at is not None]
        if not ways:
            reading.missing += [group[index][1].owner for index in kept]
        elif differing := [index for index in kept if len({way[index] for way in ways}) > 1]:
            options = sorted({way[differing[0]] for way in ways})
            reading.doubts.append((group[differing[0]][1].owner, [(*root, *theirs[at][1]) for at in options]))
        else:
            reading.found |= {group[index][1].owner: inside[theirs[at][1]] for index, at in ways[0].items()}
    times = Counter(reading.found.values())
    for owner in [owner for owner, arrays in reading.found.items() if times[arrays] > 1 and owner not in inside]:
        reading.missing.append(owner)  # another layer has these by their whole name
        del reading.found[owner]
    return reading


def _ways(
    ours: Sequence[tuple[tuple[int, ...], Wanted]], theirs: Sequence[tuple[tuple[int, ...], Shapes]]
) -> list[dict[int, int]]:
    """The ways in which layers of one kind may be those of the file, in order: positions here, and there."""
    kept = [index for index, (_, one) in enumerate(ours) if one.at is not None]
    is_run = not kept or kept[-1] - kept[0] + 1 == len(kept)
    steps = {there[-1] - here[-1] for (here, _), (there, _) in zip(ours, theirs, strict=False)}
    for wanted in (range(len(ours)), kept):  # the file of a whole network, and of this part
        # Where a layer among the kept ones is not kept, only equal numbers tell which one the file may leave out.
        is_certain = len(theirs) == len(wanted) and (wanted is kept or len(steps) == 1)
        starts = range(len(theirs) - len(wanted) + 1) if is_run or is_certain else ()
        ways = [{index: first + step for step, index in enumerate(wanted)} for first in starts]
        right = [way for way in ways if all(theirs[at][1] == ours[index][1].shapes for index, at in way.items())]
        if right:
            return right
    whole = dict(enumerate(range(len(ours))))
    return [whole] if len(theirs) == len(ours) else []  # other shapes are reported as such


def _contradictions(reading: Reading, wanted: Sequence[Wanted], stored: StoredWeights) -> Iterator[str]:
    """Signs of another network with the same names: its layers are in another order, or there are more between them."""
    used = set(reading.found.values())
    order = {reading.found[one.owner]: (index, one.at) for index, one in enumerate(wanted) if one.at is not None}
    kinds: dict[object, list[tuple[int, Owner, tuple[StoredArray, ...]]]] = {}
    for owner, arrays in stored.by_owner.items():
        if owner[: len(reading.root)] == reading.root:
            base, number = split(arrays[0].name.rpartition("/vars/")[0].rpartition("/")[2])
            kinds.setdefault((owner[:-1], base, tuple(map(len, _shapes(arrays)))), []).append((number, owner, arrays))
    # Of a nested model, the older format lists the weights that train, and then the others: that is no order of layers.
    is_ordered = stored.layers is None or not reading.root
    for group in kinds.values():
        group.sort(key=lambda one: one[0])  # all 0 in the older format: as they come
        at = [index for index, (_, _, arrays) in enumerate(group) if arrays in order]
        span = group[at[0] : at[-1]] if at and is_ordered else group if at else []
        yield from (
            f"the file has more between its layers: {_text(owner)}" for _, owner, arrays in span if arrays not in used
        )
        theirs = [order[group[index][2]] for index in at] if is_ordered else []
        if all(sorted(theirs, key=key) != theirs for key in (itemgetter(0), itemgetter(1))):
            yield f"the file has layers in another order: {', '.join(_text(group[index][1]) for index in at[:4])}"


def _missing(best: Reading, wanted: Sequence[Wanted], stored: StoredWeights) -> tuple[list[str], str]:
    """What the file lacks, and what helps."""
    names = [*map(_text, stored.by_owner)]
    lacking = [one.owner for one in _kept(wanted) if one.owner not in best.found]
    if len(lacking) == len(_kept(wanted)):
        there = ", ".join(names[:3]) + (f", … and {len(names) - 3} more" if len(names) > 3 else "")
        return [f"none of the {len(lacking)} layers is in the file by name; it has {there}"], ""
    fix = f"end the backbone before {_text(lacking[0])}, or take a file that has it"
    return [f"the file has no layer {_text(owner)}" for owner in lacking], fix


def _getter(owner: Owner) -> str:
    return "model" + "".join(f".get_layer({name!r})" for name in owner)


def _kept(wanted: Sequence[Wanted]) -> list[Wanted]:
    return [one for one in wanted if one.at is not None]


def _text(owner: Owner) -> str:
    return repr("/".join(owner))


def _shapes(arrays: Sequence[StoredArray]) -> Shapes:
    return tuple(array.shape for array in arrays)


def split(name: str) -> tuple[str, int]:
    """``conv2d_7`` as ``conv2d`` and 7."""
    base, _, number = name.rpartition("_")
    return (base, int(number)) if base and re.fullmatch("[0-9]+", number) else (name, 0)


def _kind(owner: Owner, is_counted: Callable[[str], bool]) -> tuple[Owner, tuple[int, ...]]:
    """The names without the numbers of Keras, and those numbers."""
    parts = [split(name) if is_counted(name) else (name, None) for name in owner]
    return tuple(base for base, _ in parts), tuple(number for _, number in parts if number is not None)
