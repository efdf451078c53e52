"""The 1-vs-all softmax over typed ranges: a head's scores of every tail of the kind are one matrix product.

Loss of a (head, tail) pair of weight w:  −w · log softmax(score / τ) over the tail kind's range (Lacroix et al. 2018,
eq. 3, on typed ranges), where a head's other positives count less (`losses.listwise_loss`). Gradients are written by
hand: only the batch's head rows, one relation row and the tail range (or the sampled tails) are read and written.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from kgspark.graph.graph import Graph
from kgspark.graph.histories import Histories
from kgspark.graph.layout import EntityLayout
from kgspark.graph.relation import Relation, head_only_kinds
from kgspark.kge.device import unsorted_writes
from kgspark.kge.model import models
from kgspark.kge.model.scoring import training_scores
from kgspark.kge.objectives.losses import listwise_loss
from kgspark.kge.objectives.objective import RateAt, draws_of
from kgspark.kge.objectives.regularization import penalty, wanted
from kgspark.kge.objectives.row_adam import RowAdam, Rows
from kgspark.kge.settings import TrainSettings
from kgspark.kge.workers import ALONE, Workers
from kgspark.tables import TRAIN


@dataclass(frozen=True)
class _Task:
    """One relation's share of an epoch."""

    relation: Relation
    likes: Histories
    heads: np.ndarray  # positions of the heads that have triples, with any worker
    owned: bool  # whether a worker has the rows of its own heads alone
    head_range: tuple[int, int]
    tail_range: tuple[int, int]
    head_rate: float


@dataclass(frozen=True)
class _Draws:
    """An epoch's generators: all workers sample the same tails, and each drops coordinates of its own queries."""

    tails: torch.Generator
    dropout: torch.Generator


class SoftmaxObjective:
    """Trains all relations jointly, one relation a step, batches of distinct heads."""

    def __init__(
        self,
        model: torch.nn.Module,
        graph: Graph,
        settings: TrainSettings,
        splits: Sequence[str] = (TRAIN,),
        workers: Workers = ALONE,
    ) -> None:
        """Relations without weight in the splits take no part.

        workers  those that train together; `graph` is this one's part
        """
        self.settings, self.workers = settings, workers
        self.tables = models.parameters_by_table(model)
        self.optimizer = RowAdam(self.tables)
        self.device = next(iter(self.tables.values())).device
        self.metric = models.metric_of(settings)
        owned = head_only_kinds(graph.relations)
        self.tasks = [
            self._task(relation, graph.histories(relation, splits), graph.layout, relation.head_kind in owned)
            for relation in graph.relations
            if workers.total(bool(graph.pairs(relation, splits).weights.any()))
        ]

    def _task(self, relation: Relation, likes: Histories, layout: EntityLayout, owned: bool) -> _Task:
        head_range, tail_range = layout.range(relation.head_kind), layout.range(relation.tail_kind)
        heads = self.workers.everyone(np.flatnonzero(likes.sizes), layout.count(relation.head_kind), owned)
        # Heads that are no tails are met once an epoch.
        rate = self.settings.head_rate if owned else 1.0
        return _Task(relation, likes, heads, owned, head_range, tail_range, rate)

    @unsorted_writes()  # a step's heads are distinct, and so are its tails and its positives
    def epoch(self, number: int, rate: RateAt) -> float:
        """One pass over the triples; the loss of the target relation, per unit of weight."""
        generator = np.random.default_rng([self.settings.seed, number])
        batches = list(self._batches(generator))
        draws = _Draws(
            draws_of(self.settings, number, self.device),
            draws_of(self.settings, number, self.device, self.workers.rank + 1),
        )
        losses: list[torch.Tensor] = []
        mass = 0.0
        for at, (task, heads) in enumerate(batches):
            rows, mine = self.workers.place(heads, task.owned)
            batch = task.likes.pick(rows if mine is None else rows[mine])
            loss = self._step(task, rows, mine, batch, rate(at / len(batches)), draws)
            if task.relation.name == self.settings.target:
                losses.append(loss)
                mass += float(batch.entry_weights.sum(dtype=np.float64))
        # One read at the end: reading every loss would make a GPU wait for the host at every step.
        loss_here = float(torch.stack(losses).sum()) if losses else 0.0
        return self.workers.total(loss_here) / max(self.workers.total(mass), 1e-12)

    def _batches(self, generator: np.random.Generator) -> Iterator[tuple[_Task, np.ndarray]]:
        planned = []
        for task in self.tasks:
            size = self._heads_a_step(task)
            heads = generator.permutation(task.heads)
            planned += [(task, heads[start : start + size]) for start in range(0, len(heads), size)]
        for at in generator.permutation(len(planned)):
            yield planned[at]

    def _heads_a_step(self, task: _Task) -> int:
        """As many heads as make no more scores, and hold no more coordinates, than a step of the target has scores.

        Against a handful of tails (a user's gender, say), a step of `batch_size` heads is all overhead.
        """
        widths = {t.relation.name: t.tail_range[1] - t.tail_range[0] for t in self.tasks}
        wider = widths.get(self.settings.target, 0) // max(widths[task.relation.name], self.settings.dim)
        return self.settings.batch_size * max(1, wider)

    def _step(
        self,
        task: _Task,
        rows: np.ndarray,
        mine: np.ndarray | None,
        batch: Histories,
        rate: float,
        draws: _Draws,
    ) -> torch.Tensor:
        """One step on head `rows`, of which those at `mine` (None for all) have their tails in `batch`."""
        settings, device = self.settings, self.device
        head_rows = torch.from_numpy(rows + task.head_range[0]).to(device)
        tails = torch.from_numpy(batch.indices).to(device)
        tail_rows, columns, log_counts = self._candidates(task, tails, draws.tails)
        relation_row = slice(task.relation.index, task.relation.index + 1)
        head = self.optimizer.leaves("entity", head_rows)
        tail = self.optimizer.leaves("entity", tail_rows)
        relation = self.optimizer.leaves("relation", relation_row)

        asking = head if mine is None else _picked(head, torch.from_numpy(mine).to(device))
        queries = self._dropped(models.queries(settings, asking, relation), draws.dropout)  # (B, width)
        items = models.items(settings, tail)  # (N, width)
        scores = training_scores(queries, items, self.metric)  # (B, N)
        degrees = torch.from_numpy(batch.sizes).to(device)
        rows_of = torch.arange(len(queries), device=device).repeat_interleave(degrees, output_size=len(columns))
        positives = rows_of * len(items) + columns, degrees, torch.from_numpy(batch.entry_weights).to(device)
        loss = listwise_loss(scores, *positives, settings.temperature, log_counts, settings.spare_positives)
        cost = self._penalty((asking, relation, tail), degrees, columns, len(items))
        ((loss + cost) / settings.batch_size).backward()
        self._add_up(tail, relation, {} if task.owned else head)

        self.optimizer.step(tail, tail_rows, rate)
        self.optimizer.step(relation, relation_row, rate)
        self.optimizer.step(head, head_rows, rate * task.head_rate)
        return loss.detach()

    def _add_up(self, *shared: models.Rows) -> None:
        """Gradients of rows that every worker has, over the triples of all of them."""
        self.workers.add_up([leaf.grad for leaves in shared for leaf in leaves.values() if leaf.grad is not None])

    def _penalty(
        self,
        rows: tuple[models.Rows, models.Rows, models.Rows],
        degrees: torch.Tensor,
        columns: torch.Tensor,
        items: int,
    ) -> torch.Tensor | float:
        """The regularisers' share of heads, relation and tails, each as often as a positive of the batch reads it."""
        if not wanted(self.settings):
            return 0.0
        counts = degrees, torch.full((1,), len(columns), device=self.device), torch.bincount(columns, minlength=items)
        return penalty(self.settings, *zip(rows, counts, strict=True))

    def _candidates(
        self, task: _Task, tails: torch.Tensor, generator: torch.Generator
    ) -> tuple[Rows, torch.Tensor, torch.Tensor | None]:
        """Rows of the tails in the softmax, the positives' columns among them, log of how many tails each stands for.

        With `negatives` set: the tails of the whole batch, whichever worker has them, and a uniform sample of the
        others in which each stands for others / sample, which makes the softmax's denominator unbiased (sampled softmax
        with log-Q correction).

        tails  int64 (n,): the positives, counted from the range's start
        """
        start, stop = task.tail_range
        sampled = self.settings.sample_size
        if sampled:
            liked = torch.zeros(stop - start, dtype=torch.int32, device=self.device)
            liked[tails] = 1
            self.workers.add_up([liked])
            own, rest = liked.nonzero().squeeze(1), (liked == 0).nonzero().squeeze(1)
            columns = torch.searchsorted(own, tails)
            if len(rest) > sampled:
                order = torch.randperm(len(rest), generator=generator, device=self.device)
                log_counts = torch.zeros(len(own) + sampled, device=self.device)
                log_counts[len(own) :] = math.log(len(rest) / sampled)
                return torch.cat([own, rest[order[:sampled]]]) + start, columns, log_counts
        return slice(start, stop), tails, None

    def _dropped(self, queries: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        share = self.settings.dropout
        if not share:
            return queries
        kept = torch.rand(queries.shape, generator=generator, device=self.device) >= share
        return queries * kept / (1 - share)


def _picked(rows: models.Rows, places: torch.Tensor) -> dict[str, torch.Tensor]:
    return {name: table.index_select(0, places) for name, table in rows.items()}
