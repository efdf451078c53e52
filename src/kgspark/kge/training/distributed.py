"""Training by several processes: each has the triples and vectors of its own users, and all have everything else.

The driver lays the start down as a checkpoint. Every worker takes its rows from it, and they train on together, by the
batches that one process would have: each scores its own users of a batch, and gradients of shared rows are added up at
every step. So the weights are those of one process but for the order in which floats are added. Their checkpoints are
whole ones: the others leave their rows in files, and the first worker lays them together. The driver goes on from the
last one.
"""

import os
import sys
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
from kgspark.kge.model.models import build_model, entity_tables
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
    """What every worker is told. The folders are paths that all of them see.

    triples  the shards; folder: where the checkpoint lies that training starts from, and ends in
    threads  CPU threads of each worker; gpu: whether each has a CUDA device of its own
    """

    triples: Path
    folder: Path
    fingerprint: str
    layout: EntityLayout
    relations: Sequence[Relation]
    settings: TrainSettings
    threads: int
    gpu: bool = False


@dataclass(frozen=True)
class Team:
    """How workers are started, and what they read.

    launch   runs the function with the job in `settings.workers` processes that torch.distributed can find one another
             in, and returns when all have ended; raises StageError where one failed
    threads  CPU threads of each worker, where the settings do not say
    """

    triples: Path
    launch: Callable[[Callable[[Job], None], Job], None]
    threads: int

    def train(self, folder: Path, state: TrainingState, graph: Graph, fingerprint: str) -> None:
        """Takes `state` to the end of its training, by way of the checkpoint in `folder`."""
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
    """The entities that a worker has, by numbers of its own.

    rows   int64 (layout.size,), ascending: their indices in the whole graph
    owned  int64: which of them no other worker has
    """

    workers: Workers
    layout: EntityLayout
    rows: np.ndarray
    owned: np.ndarray

    @classmethod
    def of(cls, whole: EntityLayout, relations: Sequence[Relation], workers: Workers) -> "Part":
        """The part of one of the workers."""
        owned, rows, alone = head_only_kinds(relations), [], []
        for kind in whole.ranges:
            start, stop = whole.range(kind)
            positions = np.arange(stop - start)
            if kind in owned:
                positions = positions[workers.dealt(positions)]
            rows.append(positions + start)
            alone.append(np.full(len(positions), kind in owned))
        layout = EntityLayout.from_counts(zip(whole.ranges, map(len, rows), strict=True))
        return cls(workers, layout, np.concatenate(rows), np.flatnonzero(np.concatenate(alone)))

    def read(self, folder: Path, whole: EntityLayout, relations: Sequence[Relation]) -> Graph:
        """The triples that are dealt to this worker, by its own numbers."""
        starts = np.array([start for start, _ in whole.ranges.values()])

        def dealt(heads: np.ndarray) -> np.ndarray:
            return self.workers.dealt(heads - starts[np.searchsorted(starts, heads, side="right") - 1])

        parts = {}
        for key, pairs in read_graph(folder, whole, relations, dealt).triples.parts.items():
            heads, tails = (np.searchsorted(self.rows, indices) for indices in (pairs.heads, pairs.tails))
            parts[key] = replace(pairs, heads=heads, tails=tails)
        return Graph(TripleSet(parts), self.layout, relations)


def work(job: Job) -> None:
    """What a worker does, in a process that torch.distributed knows the others of."""
    try:
        with _together(job) as (workers, device):
            _train(job, workers, device)
    except KgsparkError as error:
        # In one write, because all workers may say it at once. Those that wait for this one end when it ends.
        sys.stderr.write(f"kgspark: error: {error}\n")
        raise SystemExit(1) from None


@contextmanager
def _together(job: Job) -> Iterator[tuple[Workers, torch.device]]:
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if job.gpu else torch.device("cpu")
    if job.gpu:
        torch.cuda.set_device(device)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if job.gpu else "gloo")
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
            _save_together(job, part, state.checkpoint(job.fingerprint))
            saved = state.epoch

    first = workers.rank == 0
    with RunFolder(job.folder, settings, str(device), state.history) if first else nullcontext() as run:
        run_epochs(plan, state, run.log if run else lambda epoch: None, save)
    save()


def _save_together(job: Job, part: Part, checkpoint: Checkpoint) -> None:
    """Saves one checkpoint of the whole graph, by way of a file from every worker but the first."""
    workers = part.workers
    of_entities = [name for name in checkpoint.tensors if _of_entities(name, job.settings)]

    def file(rank: int) -> Path:
        return job.folder / f".checkpoint-{checkpoint.header['epoch']}-of-worker-{rank}.safetensors"

    if workers.rank:
        owned = torch.from_numpy(part.owned)
        own = {name: checkpoint.tensors[name].cpu()[owned] for name in of_entities}
        write_safetensors(file(workers.rank), own, {})
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
        rows = torch.from_numpy(other.rows[other.owned])
        tensors, _ = read_safetensors(file(rank))
        for name, value in tensors.items():
            whole[name][rows] = value
    checkpoints.save(job.folder, Checkpoint(whole, checkpoint.header))
    for rank in range(1, workers.count):
        file(rank).unlink()


def _of_entities(name: str, settings: TrainSettings) -> bool:
    """Whether a checkpoint's tensor has one row an entity."""
    return name.rpartition(".")[2] in entity_tables(settings)
