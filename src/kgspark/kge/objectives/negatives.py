"""Corrupted triples, drawn on the training device without a loop: uniform, Bernoulli, typed, and filtered exactly.

Each agrees in distribution with tgraphx's sampler of the same name (`tgraphx.kg.sampling`).
"""

from dataclasses import dataclass

import torch

from kgspark.errors import StageError
from kgspark.graph.graph import Graph
from kgspark.kge.settings import TrainSettings


@dataclass(frozen=True)
class Corruptions:
    """K negatives for each of B positives.

    entities  int64 (B, K): the entity that replaces an end
    at_head   bool (B, K): True if it replaces the head, False for the tail
    """

    entities: torch.Tensor
    at_head: torch.Tensor

    def triples(self, positives: torch.Tensor) -> torch.Tensor:
        """The negatives as triples int64 (B, K, 3), of the positives (B, 3)."""
        heads = torch.where(self.at_head, self.entities, positives[:, :1])
        tails = torch.where(self.at_head, positives[:, 2:], self.entities)
        return torch.stack([heads, positives[:, 1:2].expand_as(heads), tails], dim=2)


class NegativeSampler:
    """Draws corruptions of triples of one graph.

    A side is drawn first (the head with `corrupt_heads`, or by the relation's shape for bernoulli), then an entity:
    any of the graph, or for typed one of the relation's own kind on that side. With `filtered` no known triple is ever
    drawn: for m unknown candidates a number below m is drawn, and a binary search among the known ones turns it into an
    entity. The distribution is the same as if known triples were rejected and drawn again, but one step is enough, even
    for the densest rows. A side's probability is multiplied by the fraction of its candidates that are unknown.
    """

    def __init__(self, known: torch.Tensor, graph: Graph, settings: TrainSettings) -> None:
        """`known` int64 (n, 3), distinct, on the device to draw on. StageError if its keys do not fit 64 bits."""
        device, layout, count = known.device, graph.layout, len(graph.relations)
        self.negatives = max(settings.sample_size, 1)
        everything = [(0, layout.size)] * count
        typed = settings.sampler == "typed"
        ranges = [
            [layout.range(relation.head_kind) for relation in graph.relations] if typed else everything,
            [layout.range(relation.tail_kind) for relation in graph.relations] if typed else everything,
        ]
        self.starts, stops = torch.tensor(ranges, device=device).permute(2, 0, 1)  # each (2 sides, relations)
        self.sizes = stops - self.starts
        if settings.sampler == "bernoulli":
            self.head_probability = head_probabilities(known, count)
        else:
            self.head_probability = torch.full((count,), settings.corrupt_heads, device=device)
        self.known = _Known(known, layout.size, count, self.starts) if settings.filtered else None

    def draw(self, positives: torch.Tensor, generator: torch.Generator) -> Corruptions:
        """K corruptions of each positive, int64 (B, 3), all of them `drawable`; `generator` is on their device."""
        shape = (len(positives), self.negatives)
        relations = positives[:, 1]
        unknown = self._unknown(positives)  # (2, B)
        probability = self.head_probability[relations]
        by_head, by_tail = (
            weight * unknown[side] / self.sizes[side, relations]
            for side, weight in ((0, probability), (1, 1 - probability))
        )
        device = positives.device
        at_head = torch.rand(shape, generator=generator, device=device) < (by_head / (by_head + by_tail))[:, None]
        limits = torch.where(at_head, unknown[0][:, None], unknown[1][:, None])
        # 53 random bits: the error of a probability is below 2⁻²⁰ for a hundred million entities.
        uniform = torch.rand(shape, generator=generator, device=device, dtype=torch.float64)
        numbers = (uniform * limits).long().minimum(limits - 1)
        if self.known is not None:
            numbers = self.known.skip(positives, at_head, numbers)
        starts = torch.where(at_head, self.starts[0][relations][:, None], self.starts[1][relations][:, None])
        return Corruptions(starts + numbers, at_head)

    def drawable(self, positives: torch.Tensor) -> torch.Tensor:
        """Mask bool (B,) of the positives that can be corrupted at all."""
        unknown, probability = self._unknown(positives), self.head_probability[positives[:, 1]]
        return (unknown[0] > 0) & (probability > 0) | (unknown[1] > 0) & (probability < 1)

    def _unknown(self, positives: torch.Tensor) -> torch.Tensor:
        """Number of candidates for the head and for the tail that do not give a known triple, int64 (2, B)."""
        sizes = self.sizes[:, positives[:, 1]]
        return sizes if self.known is None else sizes - self.known.counts(positives)


class _Known:
    """The known heads of each (relation, tail) and the known tails of each (head, relation), as two sorted arrays.

    In a range that starts at s, c − s − i unknown candidates precede the i-th known candidate c of a group. The arrays
    are sorted by (group, that number), so one `searchsorted` gives the number of known candidates before the j-th
    unknown one.
    """

    def __init__(self, known: torch.Tensor, entities: int, relations: int, starts: torch.Tensor) -> None:
        if entities * relations * (entities + 1) >= 1 << 63:
            raise StageError(
                f"train.filtered: {entities:,} entities and {relations} relations are too many for 64-bit keys; "
                "set train.filtered=false"
            )
        self.width, self.relations = entities + 1, relations
        self.keys = []
        for side, column in ((0, 0), (1, 2)):
            offset = known[:, column] - starts[side, known[:, 1]]
            key = (self._group(known, side) * self.width + offset).sort().values
            groups = torch.div(key, self.width, rounding_mode="floor")
            first = torch.searchsorted(key, groups * self.width)
            self.keys.append(key - (torch.arange(len(key), device=key.device) - first))

    def counts(self, positives: torch.Tensor) -> torch.Tensor:
        """Number of known heads of (relation, tail) and of known tails of (head, relation), int64 (2, B)."""
        groups = [self._group(positives, side) * self.width for side in (0, 1)]
        return torch.stack(
            [self._below(side, at + self.width) - self._below(side, at) for side, at in enumerate(groups)]
        )

    def skip(self, positives: torch.Tensor, at_head: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """Positions in the range (B, K) of the `numbers`-th unknown candidates, from 0."""
        passed = []
        for side in (0, 1):
            at = (self._group(positives, side) * self.width)[:, None]
            upto = torch.searchsorted(self.keys[side], (at + numbers).contiguous(), right=True)
            passed.append(upto - self._below(side, at))
        return numbers + torch.where(at_head, passed[0], passed[1])

    def _below(self, side: int, key: torch.Tensor) -> torch.Tensor:
        return torch.searchsorted(self.keys[side], key.contiguous())

    def _group(self, triples: torch.Tensor, side: int) -> torch.Tensor:
        return triples[:, 2 if side == 0 else 0] * self.relations + triples[:, 1]


def head_probabilities(triples: torch.Tensor, relations: int) -> torch.Tensor:
    """Bernoulli's probability of corrupting the head, float32 (relations,), for distinct triples int64 (n, 3).

    Tails per head over the sum of tails per head and heads per tail (Wang et al. 2014, section 3.2). As those are n / H
    and n / T for H distinct heads and T distinct tails, it is T / (H + T); ½ for a relation without triples.
    """
    ends = []
    for column in (0, 2):
        distinct = torch.unique(triples[:, [1, column]], dim=0)[:, 0]
        ends.append(torch.bincount(distinct, minlength=relations))
    heads, tails = ends
    return torch.where(heads > 0, tails / (heads + tails).clamp(min=1), 0.5).float()
