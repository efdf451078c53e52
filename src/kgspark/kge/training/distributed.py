"""Training by several processes: each has the triples and vectors of its own users, and a copy of everything else.

The driver writes the start as a checkpoint. Every worker reads its rows from it, and they train together, with the
batches of a single process: each worker scores its own users of a batch, and gradients of shared rows are summed at
every step. So the weights are those of a single process, except for the order in which floats are added. Checkpoints
hold the whole graph: every worker writes its rows to a file, and the first worker joins them. The driver continues from
the last checkpoint.
"""

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import distributed

from kgspark.errors import KgsparkError, StageError
from kgspark.graph.graph import Graph
from kgspark.graph.layout import EntityLayout
from kgspark.graph.relation import Relation, head_only_kinds
from kgspark.graph.shards import read_graph
from kgspark.graph.triples import TripleSet
from kgspark.kge.device import reproducible
from kgspark.kge.model.two_tower import build_model, tower_of
from kgspark.kge.safetensors_io import read_safetensors, write_safetensors
from kgspark.kge.settings import TrainSettings
from kgspark.kge.training import checkpoints
from kgspark.kge.training.checkpoints import Checkpoint
from kgspark.kge.training.epochs import run_epochs
from kgspark.kge.training.plan import TrainingPlan
from kgspark.kge.training.run_folder import RunFolder
from kgspark.kge.training.state import TrainingState
from kgspark.kge.workers import Workers
from kgspark.tables import TRAIN


@dataclass(frozen=True)
class Job:
    """The instructions that every worker gets. All workers must be able to read the folders.

    triples  folder of the shards; folder: of the checkpoint that training starts from and ends in
    threads  CPU threads per worker; gpu: True if each has its own CUDA device
    meeting  a new file where the workers of one machine find each other; None if the environment says how, as torchrun
             and Spark's TorchDistributor do
    """

    triples: Path
    folder: Path
    fingerprint: str
    layout: EntityLayout
    relations: Sequence[Relation]
    settings: TrainSettings
    threads: int
    gpu: bool = False
    meeting: Path | None = None


@dataclass(frozen=True)
class Team:
    """Starts the workers, which read `triples`.

    launch   runs the function with the job in `settings.workers` processes that torch.distributed can connect, and
             returns when all have ended; raises StageError if one failed
    threads  CPU threads per worker, if the settings do not give the number
    """

    triples: Path
    launch: Callable[[Callable[[Job], None], Job], None]
    threads: int

    def train(self, folder: Path, state: TrainingState, graph: Graph, fingerprint: str) -> None:
        """Trains `state` to the last epoch; the workers get it, and return it, as the checkpoint in `folder`."""
        settings = state.settings
        if state.epoch == settings.epochs or state.stale >= settings.validation.patience:
            return
        if any(graph.layout.count(kind) < settings.workers for kind in head_only_kinds(graph.relations)):
            raise StageError(f"train.workers: {settings.workers} workers cannot share so few users; lower it")
        if not state.epoch:
            checkpoints.save(folder, state.checkpoint(fingerprint))
        gpu = next(iter(state.tables.values())).is_cuda
        threads = settings.threads or self.threads
        job = Job(self.triples, folder, fingerprint, graph.layout, graph.relations, settings, threads, gpu)
        self.launch(work, job)
        state.resume(checkpoints.load(folder, fingerprint))
        if not settings.checkpoint_every:
            checkpoints.discard(folder)


@dataclass(frozen=True)
class Part:
    """The entities of a worker, which have their own indices there.

    rows     int64 (layout.size,), ascending: their indices in the whole graph
    private  int64: indices into `rows` of the entities that no other worker has
    """

    workers: Workers
    layout: EntityLayout
    rows: np.ndarray
    private: np.ndarray

    @classmethod
    def of(cls, whole: EntityLayout, relations: Sequence[Relation], workers: Workers) -> "Part":
        """The part of one of the workers."""
        private_kinds, rows, private = head_only_kinds(relations), [], []
        for kind in whole.ranges:
            start, stop = whole.range(kind)
            positions = np.arange(stop - start)
            if kind in private_kinds:
                positions = positions[workers.has(positions)]
            rows.append(positions + start)
            private.append(np.full(len(positions), kind in private_kinds))
        layout = EntityLayout.from_counts(zip(whole.ranges, map(len, rows), strict=True))
        return cls(workers, layout, np.concatenate(rows), np.flatnonzero(np.concatenate(private)))

    def read(self, folder: Path, whole: EntityLayout, relations: Sequence[Relation]) -> Graph:
        """The graph of this worker's entities and triples, with its own indices."""
        starts = np.array([start for start, _ in whole.ranges.values()])

        def mine(heads: np.ndarray) -> np.ndarray:
            return self.workers.has(heads - starts[np.searchsorted(starts, heads, side="right") - 1])

        parts = {}
        for key, pairs in read_graph(folder, whole, relations, mine).triples.parts.items():
            heads, tails = (np.searchsorted(self.rows, indices) for indices in (pairs.heads, pairs.tails))
            parts[key] = replace(pairs, heads=heads, tails=tails)
        return Graph(TripleSet(parts), self.layout, relations)


def work(job: Job) -> None:
    """The whole of a worker, in a process that torch.distributed can connect with the others."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with _process_group(job) as (workers, device):
            _train(job, workers, device)
    except KgsparkError as error:
        # One write, because all workers may fail at once. Workers that wait for this one end when it ends.
        sys.stderr.write(f"kgspark: error: {error}\n")
        raise SystemExit(1) from None


def _end_with_parent() -> None:
    """Ends this process when its parent has ended: a worker that waits for others would wait forever."""
    parent = multiprocessing.parent_process()
    pid = (parent and parent.pid) or os.getppid()
    while os.getppid() == pid:
        time.sleep(1)
    os._exit(1)


@contextmanager
def _process_group(job: Job) -> Iterator[tuple[Workers, torch.device]]:
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if job.gpu else torch.device("cpu")
    if job.gpu:
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if job.gpu else "gloo"
    if job.meeting is None:
        distributed.init_process_group(backend)
    else:
        rank, count = int(os.environ["RANK"]), job.settings.workers
        store = distributed.FileStore(str(job.meeting), count)
        distributed.init_process_group(backend, store=store, rank=rank, world_size=count)
    try:
        with reproducible(job.settings.model_copy(update={"threads": job.threads}), device):
            yield Workers(distributed.get_world_size(), distributed.get_rank()), device
    finally:
        distributed.destroy_process_group()


def _train(job: Job, workers: Workers, device: torch.device) -> None:
    settings, relations = job.settings, job.relations
    part = Part.of(job.layout, relations, workers)
    plan = TrainingPlan(part.read(job.triples, job.layout, relations), settings, workers)
    model = build_model(settings, part.layout.size, len(relations)).to(device)
    state = TrainingState(model, plan.objective(model, (TRAIN,)), settings)
    rows = torch.from_numpy(part.rows)
    start = checkpoints.load(
        job.folder, job.fingerprint, lambda name, whole: whole[rows] if _of_entities(name, settings) else whole
    )
    if start is None:
        raise StageError(f"{job.folder}: the start of the training is not here; do all machines see this folder?")
    state.resume(start)

    saved = state.epoch

    def save() -> None:
        nonlocal saved
        if saved < state.epoch:
            _save_whole(job, part, state.checkpoint(job.fingerprint))
            saved = state.epoch

    first = workers.rank == 0
    with RunFolder(job.folder, settings, str(device), state.history) if first else nullcontext() as run:
        run_epochs(plan, state, run.log if run else lambda epoch: None, save)
    save()


def _save_whole(job: Job, part: Part, checkpoint: Checkpoint) -> None:
    """Saves one checkpoint of the whole graph, through a file from every worker except the first."""
    workers = part.workers
    of_entities = [name for name in checkpoint.tensors if _of_entities(name, job.settings)]

    def file(rank: int) -> Path:
        return job.folder / f".checkpoint-{checkpoint.header['epoch']}-of-worker-{rank}.safetensors"

    if workers.rank:
        private = torch.from_numpy(part.private)
        rows_here = {name: checkpoint.tensors[name].cpu()[private] for name in of_entities}
        write_safetensors(file(workers.rank), rows_here, {})
    workers.wait()
    if workers.rank:
        return
    whole = dict(checkpoint.tensors)
    for name in of_entities:
        value = checkpoint.tensors[name].cpu()
        whole[name] = value.new_empty(job.layout.size, value.shape[1])
        whole[name][torch.from_numpy(part.rows)] = value
    for rank in range(1, workers.count):
        other = Part.of(job.layout, job.relations, Workers(workers.count, rank))
        rows = torch.from_numpy(other.rows[other.private])
        tensors, _ = read_safetensors(file(rank))
        for name, value in tensors.items():
            whole[name][rows] = value
    checkpoints.save(job.folder, Checkpoint(whole, checkpoint.header))
    for rank in range(1, workers.count):
        file(rank).unlink()


def _of_entities(name: str, settings: TrainSettings) -> bool:
    """True for a tensor of a checkpoint with one row per entity."""
    return name.rpartition(".")[2] in tower_of(settings).entity_tables
