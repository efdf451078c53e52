"""The tutorial's stock recipe: tgraphx's `score_triples` and loss, with uniform negatives drawn on the device."""

from collections.abc import Sequence

import numpy as np
import torch
from tgraphx.kg.losses import MarginRankingLoss, SoftplusKGLoss
from tgraphx.kg.models import KGScoringModel

from kgspark.entity_layout import EntityLayout
from kgspark.kge.models import parameters_by_table
from kgspark.kge.objectives import RateAt
from kgspark.kge.optimizer import RowAdam
from kgspark.kge.settings import TrainSettings
from kgspark.kge.shards import TripleSet
from kgspark.tables import TRAIN, Relation


class StockObjective:
    """Positive triples against corrupted ones (Bordes et al. 2013): head or tail, each with probability ½, replaced
    by any entity of the graph; Adam over whole tables."""

    def __init__(
        self,
        model: KGScoringModel,
        triples: TripleSet,
        layout: EntityLayout,
        relations: Sequence[Relation],
        settings: TrainSettings,
        splits: Sequence[str] = (TRAIN,),
    ) -> None:
        """The model's tables are updated in place, on the device where they lie."""
        self.model, self.settings, self.num_entities = model, settings, layout.size
        self.optimizer = RowAdam(parameters_by_table(model), weight_decay=settings.weight_decay)
        self.device = next(model.parameters()).device
        self.loss = MarginRankingLoss(settings.margin) if settings.objective == "margin" else SoftplusKGLoss()
        rows = []
        for relation in relations:
            pairs = triples.pairs(relation.index, splits)
            rows.append(np.stack([pairs.heads, np.full(len(pairs), relation.index), pairs.tails], axis=1))
        self.triples = torch.from_numpy(np.concatenate(rows)).to(self.device)  # (n, 3)

    def epoch(self, number: int, rate: RateAt) -> float:
        """One pass over the triples; the mean loss of its batches."""
        generator = torch.Generator(self.device).manual_seed(self.settings.seed * 1_000_003 + number)
        size = self.settings.batch_size
        order = torch.randperm(len(self.triples), generator=generator, device=self.device)
        losses = []
        for start in range(0, len(order), size):
            positives = self.triples[order[start : start + size]]
            losses.append(self._step(positives, rate(start / len(order)), generator))
        return float(torch.stack(losses).mean())

    def _step(self, positives: torch.Tensor, rate: float, generator: torch.Generator) -> torch.Tensor:
        self.model.zero_grad(set_to_none=True)
        negatives = self._corrupted(positives.repeat_interleave(max(self.settings.negatives, 1), dim=0), generator)
        loss = self.loss(self.model.score_triples(positives), self.model.score_triples(negatives))
        loss.backward()
        for name, parameter in self.model.named_parameters():
            if parameter.grad is not None:
                self.optimizer.update(name.removesuffix(".weight"), slice(None), parameter.grad, rate)
        return loss.detach()

    def _corrupted(self, triples: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        entity = torch.randint(self.num_entities, (len(triples),), generator=generator, device=self.device)
        at_head = torch.rand(len(triples), generator=generator, device=self.device) < 0.5
        heads = torch.where(at_head, entity, triples[:, 0])
        tails = torch.where(at_head, triples[:, 2], entity)
        return torch.stack([heads, triples[:, 1], tails], dim=1)
