"""Vectors from facts, with the model frozen: for users without likes, and for movies with few or none.

An entity's facts are its triples as a head of other relations than the target, except relations derived from likes: a
user's gender, or the movies that the user rated low; a movie's genres, year and tags. A linear map from facts to
vectors is fitted by ridge regression on the entities that have likes, because their vectors are learned (the fold-in of
Gantner et al. 2010, “Learning attribute-to-feature mappings”):

    x(e) = for each relation r:  Σ v(t) / √n over the n tails t of (e, r, ·), and [n > 0];  and 1
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from kgspark.graph.graph import Graph
from kgspark.graph.histories import Histories
from kgspark.kge.export.evidence import LIKES, NOTHING, fact_relations, unrated
from kgspark.kge.model.two_tower import (
    items_of,
    metric_of,
    parameters_by_table,
    queries_of,
    tower_of,
    vector_width,
)
from kgspark.kge.settings import TrainSettings

# The ridge penalty; facts are sums of vectors of about unit length, and there are many entities to fit on.
_RIDGE = 1.0
# Number of entities whose facts are in memory at once.
_BLOCK_ROWS = 1 << 15


@dataclass(frozen=True)
class Facts:
    """Facts of all entities of one kind: for each relation its tails by head, and the tails' vectors (T, width)."""

    parts: Sequence[tuple[Histories, torch.Tensor]]
    count: int

    def known(self) -> np.ndarray:
        """Mask bool (count,) of the entities that have any fact."""
        found = np.zeros(self.count, bool)
        for tails, _ in self.parts:
            found |= tails.sizes > 0
        return found

    def rows(self, heads: np.ndarray) -> torch.Tensor:
        """x of the given heads, float32 (B, relations · (width + 1) + 1)."""
        columns = []
        for tails, vectors in self.parts:
            chosen = tails.pick(heads)
            counts, indices, starts = (
                torch.from_numpy(part).to(vectors.device) for part in (chosen.sizes, chosen.indices, chosen.indptr)
            )
            sums = F.embedding_bag(indices, vectors, starts, mode="sum", include_last_offset=True)
            columns += [sums / counts.clamp(min=1).sqrt()[:, None], (counts > 0).float()[:, None]]
        return torch.cat([*columns, torch.ones_like(columns[0][:, :1])], dim=1)

    def predict(self, learned: np.ndarray, vectors: torch.Tensor, wanted: np.ndarray) -> torch.Tensor:
        """Vectors float32 (wanted, width) of the positions `wanted`, fitted on the positions `learned`.

        The constant is not penalised, so that an entity without facts gets about the mean vector of the learned
        entities.

        vectors  float32 (learned, width)
        """
        width = sum(part.shape[1] + 1 for _, part in self.parts) + 1
        inner, outer = (vectors.new_zeros(width, n, dtype=torch.float64) for n in (width, vectors.shape[1]))
        for block, rows in _blocks(learned):
            x = self.rows(rows).double()
            inner += x.T @ x
            outer += x.T @ vectors[block].double()
        ridge = inner.new_full((width,), _RIDGE)
        ridge[-1] = 1e-6
        weights = torch.linalg.solve(inner + torch.diag(ridge), outer).float()
        return torch.cat([self.rows(rows) @ weights for _, rows in _blocks(wanted)])


def facts_of(
    kind: str, model: torch.nn.Module, graph: Graph, settings: TrainSettings, evidence: np.ndarray | None = None
) -> Facts | None:
    """The facts of a kind's entities in the train triples; None if no relation has any.

    evidence  of the model's vectors (see `export.evidence`): a fact whose tail has none is left out. None leaves
              nothing out
    """
    parts = []
    for relation in fact_relations(kind, graph, settings):
        rows = slice(*graph.layout.range(relation.tail_kind))
        tails = graph.histories(relation)
        if evidence is not None and not evidence[rows].all():
            tails = tails.where(evidence[rows][tails.indices] != NOTHING)
        parts.append((tails, items_of(settings, model, rows)))
    return Facts(parts, graph.layout.count(kind)) if parts else None


def inform_movies(model: torch.nn.Module, graph: Graph, settings: TrainSettings, splits: Sequence[str]) -> None:
    """Moves the vectors of movies with few likes towards the vectors that their facts predict, in place.

    With c likes in `splits`, a movie's taste becomes (c · learned + κ · predicted) / (c + κ), with κ =
    `settings.export.facts_prior`: facts count as much as κ likes do. The part along the average user's vector, the
    movie's popularity, keeps its learned value, because few likes are evidence of low popularity. A movie without any
    rating takes its whole vector from its facts. If scores are sums of distances (TransE's norm 1, RotatE), a random
    draw of the part that facts do not explain is added.
    """
    target = graph.relation(settings.target)
    facts = facts_of(target.tail_kind, model, graph, settings)
    likes = graph.histories(target, splits)
    counts = likes.counts(graph.layout.count(target.tail_kind))
    learned = np.flatnonzero(counts)
    if facts is None or not len(learned):
        return
    rows = slice(*graph.layout.range(target.tail_kind))
    own = items_of(settings, model, rows)
    predicted = facts.predict(learned, own[torch.from_numpy(learned).to(own.device)], np.arange(len(counts)))
    changed = torch.from_numpy(unrated(graph, target, splits) & facts.known()).to(own.device)
    vectors = predicted
    if metric_of(settings) not in ("inner_product", "l2"):
        # By a sum of distances, a mean vector is nearer to every user than any movie is, and would be on every list.
        vectors = predicted + _draw_unexplained(own, predicted, learned, settings)
    elif settings.export.facts_prior:
        blended = _blend(own, predicted, torch.from_numpy(counts).to(own.device), settings.export.facts_prior)
        blended = _with_popularity_of(own, blended, _mean_query(model, graph, settings, likes), settings)
        vectors = torch.where(changed[:, None], predicted, blended)
        changed = torch.ones_like(changed)
    tables = parameters_by_table(model)
    for name, values in tower_of(settings).rows_of_items(vectors).items():
        tables[name][rows] = torch.where(changed[:, None], values, tables[name][rows])


def place_new_movies(
    model: torch.nn.Module, graph: Graph, settings: TrainSettings, splits: Sequence[str], evidence: np.ndarray
) -> None:
    """Gives each movie that was not trained on likes the vector that its facts predict, or the mean one, in place.

    For a model that is served without training, so the vectors of the other movies are final. The map from facts to
    vectors is fitted on those of them that have likes in `splits`. A movie with the mean vector must not be ranked.

    evidence  of the model's vectors, uint8 (entities,); at least one movie was trained on likes
    """
    target = graph.relation(settings.target)
    first, stop = graph.layout.range(target.tail_kind)
    is_learned = evidence[first:stop] == LIKES
    if is_learned.all():
        return
    own = items_of(settings, model, slice(first, stop))
    facts = facts_of(target.tail_kind, model, graph, settings, evidence)
    liked = graph.histories(target, splits).counts(stop - first) > 0
    fitted, others = np.flatnonzero(is_learned & liked), np.flatnonzero(~is_learned)
    vectors = own[torch.from_numpy(is_learned).to(own.device)].double().mean(0).float().expand(len(others), -1)
    if facts is not None and len(fitted):
        predicted = facts.predict(fitted, own[torch.from_numpy(fitted).to(own.device)], np.arange(stop - first))
        if metric_of(settings) not in ("inner_product", "l2"):
            predicted = predicted + _draw_unexplained(own, predicted, fitted, settings)
        known = torch.from_numpy(facts.known()[others]).to(own.device)
        vectors = torch.where(known[:, None], predicted[torch.from_numpy(others).to(own.device)], vectors)
    tables = parameters_by_table(model)
    for name, values in tower_of(settings).rows_of_items(vectors).items():
        tables[name][torch.from_numpy(others + first).to(own.device)] = values


def _draw_unexplained(
    own: torch.Tensor, predicted: torch.Tensor, learned: np.ndarray, settings: TrainSettings
) -> torch.Tensor:
    """Normal draws (n, width), with the deviation of the part of the learned vectors that facts do not explain."""
    spread = (own - predicted)[torch.from_numpy(learned).to(own.device)].std(dim=0, correction=0)
    generator = torch.Generator().manual_seed(settings.seed)  # on the CPU, so that devices draw the same
    return spread * torch.randn(predicted.shape, generator=generator).to(predicted.device)


def _blend(own: torch.Tensor, predicted: torch.Tensor, counts: torch.Tensor, prior: float) -> torch.Tensor:
    """The mean of two vectors (n, width), weighted by the number of likes (n,) and by the prior."""
    likes = counts[:, None]
    return (likes * own + prior * predicted) / (likes + prior)


def _mean_query(model: torch.nn.Module, graph: Graph, settings: TrainSettings, likes: Histories) -> torch.Tensor:
    """The mean translated vector (width,) of the users with likes."""
    target = graph.relation(settings.target)
    start = graph.layout.range(target.head_kind)[0]
    device = next(model.parameters()).device
    total = torch.zeros(vector_width(settings), dtype=torch.float64, device=device)
    users = np.flatnonzero(likes.sizes)
    for _, heads in _blocks(users):
        at = torch.from_numpy(heads + start).to(device)
        total += queries_of(settings, model, at, target.index).double().sum(0)
    return (total / len(users)).float()


def _with_popularity_of(
    own: torch.Tensor, blended: torch.Tensor, axis: torch.Tensor, settings: TrainSettings
) -> torch.Tensor:
    """`blended` (n, width) with the component along `axis` (width,) of `own`; unit vectors stay unit vectors."""
    axis = F.normalize(axis, dim=0)
    popularity = (own @ axis)[:, None]  # (n, 1)
    taste = blended - (blended @ axis)[:, None] * axis
    if metric_of(settings) == "l2":
        taste = F.normalize(taste, dim=1) * (1 - popularity.square()).clamp(min=0).sqrt()
    return taste + popularity * axis


def _blocks(positions: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    for start in range(0, len(positions), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        yield block, positions[block]
