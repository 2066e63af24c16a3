"""The engine ``ray``: shards of an extraction in actors of Ray. Features go into files, never into Ray's store."""

from __future__ import annotations

import logging
import os
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from threading import current_thread, main_thread
from typing import Any

import torso

RETRIES = 3  # of a shard whose actor dies: a picture that ends the process does so each time


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
        nodes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
        actors, threads = divide(nodes, workers, len(shards))
        work.threads = threads
        packed = ray.put(ray.cloudpickle.dumps(work))  # once; each actor gets a copy
        DataContext.get_current().enable_progress_bars = False  # torso has its own
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what fails is raised
        rows = from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*ray_remote_args.* is deprecated")  # nothing else bounds the retries
            rows = rows.map(
                Worker,
                fn_constructor_args=([packed], threads),
                compute=ActorPoolStrategy(size=actors),
                num_cpus=threads,
                max_restarts=-1,
                max_task_retries=RETRIES,
            )
        # Closed before Ray is: its threads would start another one.
        with _errors(ray), closing(iter(rows.iter_rows())) as done:
            for row in done:
                found = ray.cloudpickle.loads(row["found"])
                if isinstance(found, torso.TorsoError):
                    raise found
                yield found


def divide(nodes: Sequence[int], workers: int | None, shards: int) -> tuple[int, int]:
    """How many actors, and the most processors for each with which all fit on nodes of so many processors."""
    wanted = sum(node > 0 for node in nodes) if workers is None else workers
    if not 1 <= wanted <= sum(nodes):
        fact = f"{wanted} workers cannot have a processor each: Ray has {sum(nodes)}"
        fix = f"1 to {sum(nodes)} workers, or leave workers out" if sum(nodes) else "a Ray with processors"
        raise torso.OptionError(fact, notes=[("fix", fix)])
    actors = min(wanted, shards)
    return actors, max(each for each in range(1, max(nodes) + 1) if sum(node // each for node in nodes) >= actors)


class Worker:
    """One actor: it opens backbone, listing and runtime once."""

    def __init__(self, packed: list[Any], threads: int) -> None:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        self.packed, self.work = packed, None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        import ray

        try:
            if self.work is None:
                self.work = ray.cloudpickle.loads(ray.get(self.packed[0]))
            found = self.work(int(row["shard"]))
        except torso.TorsoError as error:  # Ray would wrap it
            found = error
        return {"found": ray.cloudpickle.dumps(found)}


@contextmanager
def _errors(ray: Any) -> Iterator[None]:
    try:
        yield
    except ray.exceptions.RayError as error:
        # The first block is the worker's traceback.
        cause = str(error).split("\n\nThe above exception")[0].strip().splitlines()[-1].strip()
        notes = [("cause", cause), ("fix", "run it again, which keeps what is finished; --debug has the whole message")]
        raise torso.PluginError("a worker of Ray failed", notes=notes) from error


@contextmanager
def _connected(ray: Any) -> Iterator[None]:
    """Use the Ray that this process is connected to, or that ``RAY_ADDRESS`` names; or else start one for the time."""
    if ray.is_initialized():
        yield
        return
    address, before = os.environ.get("RAY_ADDRESS") or "local", signal.getsignal(signal.SIGTERM)
    try:
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", include_dashboard=False)
        except ConnectionError as error:
            raise torso.DiskError(f"no Ray answers at RAY_ADDRESS={address!r}", notes=[("cause", str(error))]) from error
        if before is not None and current_thread() is main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray's own ends the process with a dump of its stack
        yield
    finally:
        ray.shutdown()
