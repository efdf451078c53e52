"""The 1-vs-all softmax over typed ranges: one matrix product scores every tail of the kind for all heads of a step.

The loss of a (head, tail) pair of weight w is −w · log softmax(score / τ) over the tail kind's range (Lacroix et al.
2018, eq. 3, on typed ranges); a head's other positives count less (`losses.listwise_loss`). Gradients are written by
hand: only the batch's head rows, one relation row and the tail range (or the sampled tails) are read and written.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from kgspark.graph.graph import Graph
from kgspark.kge.device import unsorted_writes
from kgspark.kge.model.scoring import training_scores
from kgspark.kge.model.two_tower import RowsByTable, parameters_by_table, tower_of
from kgspark.kge.objectives.batches import Batch, Batches, Task
from kgspark.kge.objectives.losses import has_penalty, listwise_loss, penalty
from kgspark.kge.objectives.objective import RateAt, epoch_generator
from kgspark.kge.objectives.row_adam import RowAdam, RowIndex
from kgspark.kge.settings import TrainSettings
from kgspark.kge.workers import SINGLE, Workers
from kgspark.tables import TRAIN


@dataclass(frozen=True)
class _Draws:
    """An epoch's generators: all workers sample the same tails, but each draws the dropout of its own queries."""

    tails: torch.Generator
    dropout: torch.Generator


@dataclass(frozen=True)
class _Candidates:
    """The tails in a step's softmax.

    rows        their entity indices
    columns     int64 (n,): positions of the step's positives among them
    log_counts  float32 (N,): log of the number of tails that each represents; None if each represents itself
    """

    rows: RowIndex
    columns: torch.Tensor
    log_counts: torch.Tensor | None


class SoftmaxObjective:
    """Trains all relations jointly, one relation per step, on batches of distinct heads."""

    def __init__(
        self,
        model: torch.nn.Module,
        graph: Graph,
        settings: TrainSettings,
        splits: Sequence[str] = (TRAIN,),
        workers: Workers = SINGLE,
    ) -> None:
        """Relations without weight in the splits take no part.

        workers  the processes that train together; `graph` is the part of this one
        """
        self.settings, self.workers = settings, workers
        self.tower = tower_of(settings)
        self.metric = self.tower.metric(settings)
        tables = parameters_by_table(model)
        self.device = next(iter(tables.values())).device
        self.optimizer = RowAdam(tables)
        self.batches = Batches(graph, settings, splits, workers)

    @unsorted_writes()  # a step's heads are distinct, and so are its tails and its positives
    def epoch(self, number: int, rate: RateAt) -> float:
        """One pass over the triples; returns the loss of the target relation per unit of weight."""
        draws = _Draws(
            tails=epoch_generator(self.settings, number, self.device),
            dropout=epoch_generator(self.settings, number, self.device, self.workers.rank + 1),
        )
        losses: list[torch.Tensor] = []
        weight = 0.0
        for batch in self.batches.epoch(number):
            loss = self._step(batch, rate(batch.done), draws)
            if batch.task.relation.name == self.settings.target:
                losses.append(loss)
                weight += float(batch.tails.entry_weights.sum(dtype=np.float64))
        # One read at the end: reading every loss would make the host and a GPU wait for each other at every step.
        totals = torch.tensor([float(torch.stack(losses).sum()) if losses else 0.0, weight], dtype=torch.float64)
        self.workers.sum([totals])
        return float(totals[0]) / max(float(totals[1]), 1e-12)

    def _step(self, batch: Batch, rate: float, draws: _Draws) -> torch.Tensor:
        settings, device, task, heads = self.settings, self.device, batch.task, batch.heads
        head_rows = torch.from_numpy(heads.rows + task.head_range[0]).to(device)
        candidates = self._candidates(task, torch.from_numpy(batch.tails.indices).to(device), draws.tails)
        relation_row = slice(task.relation.index, task.relation.index + 1)
        head = self.optimizer.leaves(self.tower.entity_tables, head_rows)
        tail = self.optimizer.leaves(self.tower.entity_tables, candidates.rows)
        relation = self.optimizer.leaves(self.tower.relation_tables, relation_row)

        scored = head if heads.with_triples is None else _pick(head, torch.from_numpy(heads.with_triples).to(device))
        queries = self._drop(self.tower.query(scored, relation), draws.dropout)  # (B, width)
        items = self.tower.item(tail)  # (N, width)
        scores = training_scores(queries, items, self.metric)  # (B, N)
        degrees = torch.from_numpy(batch.tails.sizes).to(device)
        columns = candidates.columns
        rows_of = torch.arange(len(queries), device=device).repeat_interleave(degrees, output_size=len(columns))
        positives = rows_of * len(items) + columns, degrees, torch.from_numpy(batch.tails.entry_weights).to(device)
        temperature, spared = settings.temperature, settings.spare_positives
        loss = listwise_loss(scores, *positives, temperature, candidates.log_counts, spared, settings.top)
        cost = self._penalty((scored, relation, tail), degrees, columns, len(items))
        ((loss + cost) / settings.batch_size).backward()
        self._sum_gradients(tail, relation, {} if heads.private else head)

        self.optimizer.step(tail, candidates.rows, rate)
        self.optimizer.step(relation, relation_row, rate)
        self.optimizer.step(head, head_rows, rate * task.head_rate)
        return loss.detach()

    def _sum_gradients(self, *shared: RowsByTable) -> None:
        """Sums the gradients of rows that every worker has over the triples of all workers."""
        self.workers.sum([leaf.grad for leaves in shared for leaf in leaves.values() if leaf.grad is not None])

    def _penalty(
        self,
        rows: tuple[RowsByTable, RowsByTable, RowsByTable],
        degrees: torch.Tensor,
        columns: torch.Tensor,
        items: int,
    ) -> torch.Tensor | float:
        """The penalty of heads, relation and tails; each row counts once per positive of the batch that contains it."""
        if not has_penalty(self.settings):
            return 0.0
        counts = degrees, torch.full((1,), len(columns), device=self.device), torch.bincount(columns, minlength=items)
        return penalty(self.settings, self.tower, *zip(rows, counts, strict=True))

    def _candidates(self, task: Task, tails: torch.Tensor, generator: torch.Generator) -> _Candidates:
        """The tails that a step compares its heads with: all of the kind, or a sample.

        A sample contains the positives of the whole batch, of all workers, and `negatives` of the other tails, drawn
        uniformly. Each drawn tail represents others / negatives tails, which makes the softmax's denominator unbiased
        (sampled softmax with log-Q correction).

        tails  int64 (n,): the positives, counted from the range's start
        """
        start, stop = task.tail_range
        size = self.settings.sample_size
        if size:
            marks = torch.zeros(stop - start, dtype=torch.int32, device=self.device)
            marks[tails] = 1
            self.workers.sum([marks])
            own, rest = marks.nonzero().squeeze(1), (marks == 0).nonzero().squeeze(1)
            if len(rest) > size:
                order = torch.randperm(len(rest), generator=generator, device=self.device)
                log_counts = torch.zeros(len(own) + size, device=self.device)
                log_counts[len(own) :] = math.log(len(rest) / size)
                rows = torch.cat([own, rest[order[:size]]]) + start
                return _Candidates(rows, torch.searchsorted(own, tails), log_counts)
        return _Candidates(slice(start, stop), tails, None)

    def _drop(self, queries: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        rate = self.settings.dropout
        if not rate:
            return queries
        kept = torch.rand(queries.shape, generator=generator, device=self.device) >= rate
        return queries * kept / (1 - rate)


def _pick(rows: RowsByTable, at: torch.Tensor) -> dict[str, torch.Tensor]:
    return {name: table.index_select(0, at) for name, table in rows.items()}
