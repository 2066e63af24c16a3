"""The engine ``ray``: shards of an extraction in actors of Ray. Features go into files, never into Ray's store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torso


@torso.hookimpl
def torso_engines() -> Iterable[torso.Engine]:
    yield torso.Engine(name="ray", doc="In processes of Ray, on this machine or on a cluster (RAY_ADDRESS).", run=run)


def run(work: Callable[[int], Any], shards: Sequence[int], workers: int | None) -> Iterator[Any]:
    """Compute the shards in as many actors as there are workers, by default one for each node; yields what each returns."""
    if not shards:
        return
    try:
        import ray
        from ray.data import ActorPoolStrategy, DataContext, from_items
    except ImportError as error:
        raise torso.OptionError("engine 'ray' needs ray", notes=[("fix", "pip install 'ray[data]'")]) from error
    with _connected(ray):
        processors = int(ray.cluster_resources().get("CPU", 0))
        count = min(workers or sum(node["Alive"] for node in ray.nodes()), len(shards))
        if workers and not 0 < workers <= processors:
            fact = f"{workers} workers need a processor each, and Ray has {processors}"
            raise torso.OptionError(fact, notes=[("fix", f"1 to {processors} workers, or leave workers out")])
        threads = max(1, processors // count)
        work.threads = threads
        packed = ray.put(work)  # once; each actor gets a copy
        DataContext.get_current().enable_progress_bars = False  # torso has its own
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        rows = from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards))
        done = rows.map(
            Worker,
            fn_constructor_args=([packed], threads),
            compute=ActorPoolStrategy(size=count),
            num_cpus=threads,
        )  # Ray starts an actor that has died again, and computes its shard again
        for row in done.iter_rows():
            if row["refused"]:
                raise ray.cloudpickle.loads(row["refused"])
            yield SimpleNamespace(**{key: row[key] for key in ("shard", "rows", "failed", "first")})


class Worker:
    """One actor: it opens backbone, listing and runtime once."""

    def __init__(self, packed: list[Any], threads: int) -> None:
        import ray
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        (self.work,) = ray.get(packed)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        import ray

        try:
            done = self.work(int(row["shard"]))
        except torso.TorsoError as error:  # Ray would wrap it
            return {"shard": row["shard"], "rows": 0, "failed": 0, "first": None, "refused": ray.cloudpickle.dumps(error)}
        return {"shard": done.shard, "rows": done.rows, "failed": done.failed, "first": done.first, "refused": None}


@contextmanager
def _connected(ray: Any) -> Iterator[None]:
    """Use the Ray that this process is connected to, or that ``RAY_ADDRESS`` names; or else start one for the time."""
    if ray.is_initialized():
        yield
        return
    ray.init(log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    try:
        yield
    finally:
        ray.shutdown()
