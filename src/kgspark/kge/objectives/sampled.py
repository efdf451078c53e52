"""Positive triples against sampled negatives: softplus, margin, BPR and WARP; a step has triples of all relations."""

from collections.abc import Sequence

import numpy as np
import torch

from kgspark.errors import StageError
from kgspark.graph.graph import Graph
from kgspark.kge.model.scoring import pair_scores
from kgspark.kge.model.two_tower import RowsByTable, parameters_by_table, tower_of
from kgspark.kge.objectives.losses import has_penalty, negatives_loss, penalty
from kgspark.kge.objectives.negatives import Corruptions, NegativeSampler
from kgspark.kge.objectives.objective import RateAt, epoch_generator
from kgspark.kge.objectives.row_adam import RowAdam
from kgspark.kge.settings import TrainSettings
from kgspark.tables import TRAIN


class SampledObjective:
    """Batches of triples; a step reads and writes only the entities of the batch and of its negatives.

    With `objective: softplus`, one uniform negative and the tutorial's step size it is the tutorial's stock recipe,
    except that Adam updates an entity only at the steps that read it.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        graph: Graph,
        settings: TrainSettings,
        splits: Sequence[str] = (TRAIN,),
    ) -> None:
        """StageError if no triple of the splits can be corrupted."""
        self.settings, self.tower = settings, tower_of(settings)
        self.metric, self.offset = self.tower.metric(settings), self.tower.offset(model)
        tables = parameters_by_table(model)
        self.device = next(iter(tables.values())).device
        self.optimizer = RowAdam(tables)
        known, weights = _columns(graph, splits)
        known, weights = known.to(self.device), weights.to(self.device)
        self.sampler = NegativeSampler(known, graph, settings)
        usable = self.sampler.drawable(known) & (weights > 0)
        if not usable.any():
            raise StageError("train.filtered: every triple that could be drawn is a known one; set it to false")
        self.triples, self.weights = known[usable], weights[usable]

    def epoch(self, number: int, rate: RateAt) -> float:
        """One pass over the triples; returns the loss per unit of weight."""
        generator = epoch_generator(self.settings, number, self.device)
        size = self.settings.batch_size
        order = torch.randperm(len(self.triples), generator=generator, device=self.device)
        losses = []
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            negatives = self.sampler.draw(self.triples[batch], generator)
            losses.append(self._step(self.triples[batch], self.weights[batch], negatives, rate(start / len(order))))
        return float(torch.stack(losses).sum() / self.weights.sum())

    def _step(
        self, positives: torch.Tensor, weights: torch.Tensor, negatives: Corruptions, rate: float
    ) -> torch.Tensor:
        named = torch.cat([positives[:, 0], positives[:, 2], negatives.entities.flatten()])
        rows, at = torch.unique(named, return_inverse=True)
        entities = self.optimizer.leaves(self.tower.entity_tables, rows)
        relations = self.optimizer.leaves(self.tower.relation_tables, slice(None))
        heads, tails, drawn = at.split([len(positives), len(positives), negatives.entities.numel()])
        scores = self._scores(entities, relations, (heads, positives[:, 1], tails), drawn, negatives.at_head)
        loss = (weights * negatives_loss(self.settings, *scores)).sum()
        if has_penalty(self.settings):
            read = torch.bincount(torch.cat([heads, tails]), minlength=len(rows))
            used = torch.bincount(positives[:, 1], minlength=len(next(iter(relations.values()))))
            loss = loss + penalty(self.settings, self.tower, (entities, read), (relations, used))
        (loss / len(positives)).backward()
        self.optimizer.step(entities, rows, rate)
        self.optimizer.step(relations, slice(None), rate)
        return loss.detach()

    def _scores(
        self,
        entities: RowsByTable,
        relations: RowsByTable,
        ends: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
        drawn: torch.Tensor,
        at_head: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores of the positives (B,) and of their negatives (B, K), equal to those of `score_triples`.

        A corrupted tail is compared with the query of its positive, which is computed already.
        """
        heads, chosen, tails = ends
        queries = self._queries(entities, relations, heads, chosen)  # (B, width)
        items = self.tower.item(_pick(entities, tails))  # (B, width)
        positives = pair_scores(queries, items, self.metric)
        flat = at_head.flatten()
        owner = torch.arange(len(heads), device=flat.device).repeat_interleave(at_head.shape[1])
        by_tail, by_head = torch.nonzero(~flat).squeeze(1), torch.nonzero(flat).squeeze(1)
        negatives = positives.new_zeros(len(flat))
        if len(by_tail):
            others = self.tower.item(_pick(entities, drawn[by_tail]))
            scores = pair_scores(queries.index_select(0, owner[by_tail]), others, self.metric)
            negatives = negatives.index_copy(0, by_tail, scores)
        if len(by_head):
            others = self._queries(entities, relations, drawn[by_head], chosen[owner[by_head]])
            scores = pair_scores(others, items.index_select(0, owner[by_head]), self.metric)
            negatives = negatives.index_copy(0, by_head, scores)
        return positives + self.offset, negatives.view_as(at_head) + self.offset

    def _queries(
        self, entities: RowsByTable, relations: RowsByTable, heads: torch.Tensor, chosen: torch.Tensor
    ) -> torch.Tensor:
        return self.tower.queries_by_relation(_pick(entities, heads), relations, chosen)


def _pick(rows: RowsByTable, at: torch.Tensor) -> dict[str, torch.Tensor]:
    # The gradient of index_select is summed in the order of `at`, so it has the same bytes every time.
    return {name: table.index_select(0, at) for name, table in rows.items()}


def _columns(graph: Graph, splits: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """The triples of the splits int64 (n, 3) and their weights float32 (n,)."""
    rows, weights = [], []
    for relation in graph.relations:
        pairs = graph.pairs(relation, splits)
        rows.append(np.stack([pairs.heads, np.full(len(pairs), relation.index), pairs.tails], axis=1))
        weights.append(pairs.weights)
    return torch.from_numpy(np.concatenate(rows)), torch.from_numpy(np.concatenate(weights))
