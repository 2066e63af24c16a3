"""Extract: list the pictures, open the folder anew or where it was left, and have an engine compute what is missing."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

import pyarrow as pa
from filelock import FileLock, Timeout

from torso.artifact.documents import digest_of
from torso.artifact.manifest import Difference, as_json, versions
from torso.artifact.verify import Check, Verification
from torso.errors import IntegrityError, OptionError, OutputExistsError
from torso.extraction.extraction_file import NAME, Extraction, Options, read_extraction
from torso.extraction.features import Features
from torso.extraction.shard import COLUMNS, LISTING, Work, as_parquet, name_of, read_listing, read_part
from torso.extraction.source import Source, texts_of
from torso.files.disk_errors import disk_errors
from torso.files.folder import Folder
from torso.plugins.calling import plugin_errors
from torso.plugins.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

    from torso.backbone import Backbone

LOCK: Final = ".lock"
_SHOWN: Final = 3  # names in errors

Progress = Callable[[int, int, int], None]  # pictures done, all pictures, and failed ones


def extract(
    backbone: Backbone,
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    pool: Literal["avg", "max"] | None = "avg",
    runtime: str = "tensorflow",
    precision: str = "float32",
    dtype: str = "float32",
    shard: int = 512,
    strict: bool = False,
    retry: bool = False,
    engine: str = "local",
    workers: int | None = None,
    registry: Registry | None = None,
    progress: Progress | None = None,
) -> Features:
    """Compute the features of many pictures, and write them in files. The same call goes on where a killed one was.

    A picture that cannot be read has a row with its error, and features of NaN.

    Args:
        backbone: What computes them; of one input size.
        source: A folder of pictures, whose first folders are the labels; a ``.txt`` file with a path in each line; or a
            ``.parquet`` file with a column ``path`` or ``image`` (bytes), and perhaps ``label``. Paths are relative to it.
        out: A folder for the files, or an address such as ``s3://bucket/features``.
        pool: The mean or the maximum of each feature map over its positions; None for the whole map.
        runtime: What computes, as for :meth:`Backbone.runtime`.
        precision: ``"bfloat16"`` is faster and coarser, where the runtime has it.
        dtype: Of the numbers in the files: ``"float32"``, or ``"float16"``.
        shard: How many pictures a file has.
        strict: Stop at the first picture that cannot be read.
        retry: Compute files with errors again.
        engine: Where it is computed: ``"local"``, or what a plugin offers.
        workers: How many work at a time, where the engine lets choose.
        registry: The plugins; by default those that are installed.
        progress: Called with the pictures done, all pictures, and failed ones; by default a bar on stderr.

    Raises:
        OptionError: There are no pictures, or something is not possible; or ``out`` holds another extraction.
        OutputExistsError: ``out`` holds other files, or another process writes there.
        IntegrityError: The runtime gives other features than Keras.
        DiskError: The disk refused or is full. What is finished stays.
    """
    if not hasattr(backbone, "record"):
        fix = "torso.load(FOLDER), torso.create_backbone(NAME), or torso.attach(MODEL, FOLDER)"
        raise OptionError(f"backbone must be a torso.Backbone, not a {type(backbone).__name__}", notes=[("fix", fix)])
    registry = registry or Registry.load()
    chosen = registry.engines.resolve(engine)
    options = Options(pool, runtime, precision, dtype, shard)
    _require_possible(backbone, options)
    place, pictures = Folder(out), Source.of(source)
    listing, facts, there = pictures.listing(), _facts(backbone), place.names()
    others = {name for name in there if not name.startswith(".")} - {LISTING}
    if others and NAME not in there:
        fact = f"{place.address!r} holds no extraction, but {_some(sorted(others))}"
        raise OutputExistsError(fact, notes=[("fix", "choose another folder")])
    place.make()
    with _only_writer(place):
        computes = None
        if NAME in place.names():  # asked again: another process may have ended just now
            record = read_extraction(place)
            _require_same(record, facts, options, place, listing)
        else:
            computes = options.open(backbone, registry=registry)
            listed = as_parquet(listing)
            place.publish(LISTING, listed)
            record = Extraction(
                facts=facts,
                options=options,
                listing=hashlib.sha256(listed).hexdigest(),
                backbone=backbone.manifest,
                source=pictures.name,
                pictures=len(listing),
                features=[_feature(one, options) for one in backbone.features],
                runtime_error=computes.error,
                runtime_cosine=computes.cosine,
                made_with=versions(),
            )
            record.publish(place)
        work = Work(pictures, place, record, backbone, strict)
        finished = _finished(place, record, retry)
        missing = [shard for shard in range(record.shards) if shard not in finished]
        if missing:  # wrong features are refused before the first picture
            work.runtime = computes or options.open(backbone, registry=registry)
        done, failed = sum(len(record.rows(shard)) for shard in finished), sum(finished.values())
        faults = plugin_errors(chosen.plugin, f"engine {chosen.qualified!r}")
        with _reporter(progress, record.pictures) as report, nullcontext() if chosen.plugin.origin == "built-in" else faults:
            report(done, failed)
            for one in chosen.value.run(work, missing, workers):
                done, failed = done + one.rows, failed + one.failed
                report(done, failed)
        replace(record, failed=failed).publish(place)
    return Features(out)


def verify_features(folder: str | Path) -> Verification:
    """Check every byte of an extraction: its listing and each of its parts are there, are whole, and belong to it.

    Raises:
        OptionError: There is no extraction.
        IntegrityError: Its record cannot be read.
    """
    place = Folder(folder)
    record = read_extraction(place)
    parts = {name_of(shard): partial(read_part, place, record, shard) for shard in range(record.shards)}
    wrong: list[Difference] = []
    for name, read in {LISTING: partial(read_listing, place, record), **parts}.items():
        try:
            read()
        except IntegrityError as error:
            wrong.append((name, "whole", error.fact))
    words = f"{record.shards} files with {record.pictures} pictures"
    words = _some([fact for _, _, fact in wrong], "; ") if wrong else words
    check = Check(name="parts", holds=not wrong, words=words, differences=tuple(wrong))
    return Verification(folder=folder, name=record.backbone["name"], checks=(check,))


def _require_possible(backbone: Backbone, options: Options) -> None:
    shape = backbone.record.plan["input_shape"]
    if None in shape:
        fix = "give it a size: input: {size: [224, 224]} in the spec, or input_shape=(224, 224, 3)"
        raise OptionError(f"{backbone.name} takes images of any size, and a batch has one", notes=[("fix", fix)])
    names = [feature.name for feature in backbone.features]
    if taken := {*names} & {*COLUMNS}:
        raise OptionError(f"a feature is named {', '.join(taken)}, as a column of the result")
    if options.dtype not in ("float16", "float32"):
        raise OptionError(f"dtype must be 'float32' or 'float16', not {options.dtype!r}")
    if isinstance(options.shard, bool) or not isinstance(options.shard, int) or options.shard < 1:
        raise OptionError(f"shard must be a number of pictures from 1 on, not {options.shard!r}")


def _facts(backbone: Backbone) -> dict[str, Any]:
    """What of a backbone its features depend on."""
    from torso.artifact.reference_outputs import hashes_of, weights_by_path

    record = backbone.record
    return {
        "graph": record.graph.fingerprint,
        "weights": digest_of(hashes_of(weights_by_path(backbone.model))),
        "preprocessing": as_json(record.preprocessing) | {"included": record.preprocessing_included},
        "pictures": as_json(record.transform) | {"input_shape": list(record.plan["input_shape"])},
        "features": record.feature_names,
    }


def _feature(feature: Any, options: Options) -> dict[str, Any]:
    pooled = options.pool and len(feature.shape) == 3
    return dict(as_json(feature)) | {"shape": [feature.shape[-1]] if pooled else list(feature.shape)}


def _require_same(record: Extraction, facts: Mapping[str, Any], options: Options, out: Folder, listing: pa.Table) -> None:
    """Refuse to go on with something else; pictures that are gone since are rows with an error."""
    given = asdict(options).items()
    differ = [f"{key}: {was!r} → {now!r}" for key, now in given if (was := getattr(record.options, key)) != now]
    differ += [f"the backbone's {name}" for name, fact in facts.items() if fact != record.facts[name]]
    listed = _rows(read_listing(out, record))
    added = [repr(path) for path, row in _rows(listing).items() if listed.get(path) != row]
    if added or len(listing) > record.pictures:
        differ.append(f"the pictures: {_some(added)} are new, or have another label")
    if differ:
        fix = "choose another folder, or the same backbone, options and pictures"
        raise OptionError(
            f"{out.address!r} holds another extraction", notes=[*(("differs", one) for one in differ), ("fix", fix)]
        )


def _rows(listing: pa.Table) -> dict[str, Any]:
    """The label of each path, and its row where a file holds the pictures."""
    return dict(zip(texts_of(listing["path"]), listing.drop_columns("path").to_pylist(), strict=True))


def _some(names: Sequence[str], separator: str = ", ") -> str:
    """The first few of many."""
    more = [f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return separator.join([*names[:_SHOWN], *more])


def _finished(out: Folder, record: Extraction, retry: bool) -> dict[int, int]:
    """The shards whose parts are whole, and how many pictures of each have failed; with ``retry``, only those without."""
    there, finished = out.names(), {}
    for shard in range(record.shards):
        if name_of(shard) in there:
            try:
                part = read_part(out, record, shard)
            except IntegrityError:
                continue  # it is computed again
            failed = len(part) - part["error"].null_count
            if not (retry and failed):
                finished[shard] = failed
    return finished


@contextmanager
def _reporter(progress: Progress | None, pictures: int) -> Iterator[Callable[[int, int], None]]:
    """What reports pictures done and failed: to a function, or on a bar."""
    if progress:
        yield lambda done, failed: progress(done, pictures, failed)
        return
    from tqdm.auto import tqdm

    with tqdm(total=pictures, unit="picture") as bar:

        def report(done: int, failed: int) -> None:
            bar.set_postfix({"failed": failed} if failed else {}, refresh=False)
            bar.update(done - bar.n)

        yield report


@contextmanager
def _only_writer(out: Folder) -> Iterator[None]:
    """Refuse a second process; what a killed one left is removed. Folders elsewhere have no lock."""
    if out.remote is not None:
        yield
        return
    with disk_errors(f"{out.address!r} could not be locked"):
        try:
            lock = FileLock(out.local / LOCK).acquire(timeout=0)
        except Timeout as error:
            fix = "wait for its end, or choose another folder"
            raise OutputExistsError(f"another process writes to {out.address!r}", notes=[("fix", fix)]) from error
    with lock:
        for left in out.local.glob(".*.partial"):
            shutil.rmtree(left, ignore_errors=True)
        yield
