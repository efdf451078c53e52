"""The steps of a softmax epoch: batches of distinct heads, each with its tails by one relation.

The order of the steps is drawn from (seed, epoch), and is the same in every worker.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kgspark.graph.graph import Graph
from kgspark.graph.histories import Histories
from kgspark.graph.relation import Relation, head_only_kinds
from kgspark.kge.settings import TrainSettings
from kgspark.kge.workers import StepHeads, Workers


@dataclass(frozen=True)
class Task:
    """The triples of one relation.

    tails      by head: one list per entity of the head kind that this worker has
    heads      int64: positions, in the whole kind, of the heads with triples in any worker
    private    the head kind is never a tail, so only one worker has a head's row
    head_rate  step-size factor of the heads
    """

    relation: Relation
    tails: Histories
    heads: np.ndarray
    private: bool
    head_range: tuple[int, int]
    tail_range: tuple[int, int]
    head_rate: float

    @property
    def width(self) -> int:
        """Number of entities of the tail kind."""
        return self.tail_range[1] - self.tail_range[0]


@dataclass(frozen=True)
class Batch:
    """One step.

    heads  this worker's part of the heads
    tails  of the heads that have triples here
    done   fraction of the epoch that precedes the step
    """

    task: Task
    heads: StepHeads
    tails: Histories
    done: float


class Batches:
    """Cuts the triples of some splits into the steps of an epoch."""

    def __init__(self, graph: Graph, settings: TrainSettings, splits: Sequence[str], workers: Workers) -> None:
        """Relations without weight in the splits take no part; `graph` is this worker's part."""
        self.settings, self.workers = settings, workers
        private = head_only_kinds(graph.relations)
        self.tasks = [
            self._task(graph, relation, splits, relation.head_kind in private)
            for relation in graph.relations
            if workers.total(bool(graph.pairs(relation, splits).weights.any()))
        ]

    def epoch(self, number: int) -> Iterator[Batch]:
        """The steps of an epoch, one relation per step, in the order in which they are taken."""
        generator = np.random.default_rng([self.settings.seed, number])
        planned = []
        for task in self.tasks:
            size = self._heads_per_step(task)
            positions = generator.permutation(task.heads)
            planned += [(task, positions[start : start + size]) for start in range(0, len(positions), size)]
        for step, at in enumerate(generator.permutation(len(planned))):
            task, positions = planned[at]
            heads = self.workers.mine(positions, task.private)
            scored = heads.rows if heads.with_triples is None else heads.rows[heads.with_triples]
            yield Batch(task, heads, task.tails.pick(scored), step / len(planned))

    def _task(self, graph: Graph, relation: Relation, splits: Sequence[str], private: bool) -> Task:
        layout, tails = graph.layout, graph.histories(relation, splits)
        heads = self.workers.union(np.flatnonzero(tails.sizes), layout.count(relation.head_kind), private)
        # Heads that are never tails are updated once per epoch.
        rate = self.settings.head_rate if private else 1.0
        ranges = layout.range(relation.head_kind), layout.range(relation.tail_kind)
        return Task(relation, tails, heads, private, *ranges, rate)

    def _heads_per_step(self, task: Task) -> int:
        """Number of heads with no more scores, and no more coordinates, than a step of the target has scores.

        With only a few tails (such as the genders of users), a step of `batch_size` heads would be mostly overhead.
        """
        widths = {task.relation.name: task.width for task in self.tasks}
        wider = widths.get(self.settings.target, 0) // max(task.width, self.settings.dim)
        return self.settings.batch_size * max(1, wider)
