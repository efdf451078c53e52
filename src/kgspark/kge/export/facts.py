"""Vectors from facts, with the model frozen: of users without likes, and of movies with few or none.

An entity's facts are its triples as a head of other relations than the target, but for what was drawn from likes: a
user's gender, or the movies that the user rated low; a movie's genres, year and tags. A linear map from facts to
vectors is fitted by ridge regression on the entities whose vectors likes have taught (the fold-in of Gantner et al.
2010, “Learning attribute-to-feature mappings”):

    x(e) = for each relation r:  Σ v(t) / √n over the n tails t of (e, r, ·), and [n > 0];  and 1
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from kgspark.graph.graph import Graph
from kgspark.graph.histories import Histories
from kgspark.graph.relation import Relation
from kgspark.kge.model import models
from kgspark.kge.settings import TrainSettings
from kgspark.tables import TRAIN

# The ridge; facts are sums of vectors of about unit length, and those that teach are many.
_RIDGE = 1.0
# Entities whose facts are laid out at once.
_BLOCK_ROWS = 1 << 15


@dataclass(frozen=True)
class Facts:
    """Facts of all entities of one kind: for each relation its triples by head, and its tails' vectors (T, width)."""

    parts: Sequence[tuple[Histories, torch.Tensor]]
    count: int

    def known(self) -> np.ndarray:
        """bool (count,): of whom there is any fact."""
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

    def predict(self, taught: np.ndarray, targets: torch.Tensor, asked: np.ndarray) -> torch.Tensor:
        """Vectors float32 (asked, width) of the positions `asked`, as the `taught` positions' `targets` (n, width) say.

        The constant is not penalised, so that an entity without facts gets about the mean of those that are like it.
        """
        width = sum(vectors.shape[1] + 1 for _, vectors in self.parts) + 1
        inner, outer = (targets.new_zeros(width, n, dtype=torch.float64) for n in (width, targets.shape[1]))
        for block, rows in _blocks(taught):
            x = self.rows(rows).double()
            inner += x.T @ x
            outer += x.T @ targets[block].double()
        ridge = inner.new_full((width,), _RIDGE)
        ridge[-1] = 1e-6
        weights = torch.linalg.solve(inner + torch.diag(ridge), outer).float()
        return torch.cat([self.rows(rows) @ weights for _, rows in _blocks(asked)])


def facts_of(kind: str, model: torch.nn.Module, graph: Graph, settings: TrainSettings) -> Facts | None:
    """The facts of a kind's entities in the train triples; None where no relation tells any."""
    tables = models.parameters_by_table(model)
    parts = []
    for relation in graph.relations:
        told = relation.head_kind == kind and relation.name != settings.target and not relation.of_likes
        if told and len(graph.pairs(relation)):
            tails = slice(*graph.layout.range(relation.tail_kind))
            rows = {name: tables[name][tails] for name in models.entity_tables(settings)}
            parts.append((graph.histories(relation), models.items(settings, rows)))
    return Facts(parts, graph.layout.count(kind)) if parts else None


def inform_movies(model: torch.nn.Module, graph: Graph, settings: TrainSettings, splits: Sequence[str]) -> None:
    """Moves the vectors of movies with few likes towards what their facts say, in place.

    With c likes in `splits`, a movie's taste becomes (c · own + κ · from facts) / (c + κ), with κ =
    `settings.export.facts_prior`: facts count as much as κ likes do. What it shares with the average user's vector, its
    popularity, stays its own, because low popularity is what few likes do tell. A movie that nobody has rated takes all
    from its facts, and where scores are sums of distances (TransE's norm 1, RotatE) a draw of what they leave open.
    """
    target = graph.relation(settings.target)
    facts = facts_of(target.tail_kind, model, graph, settings)
    likes = graph.histories(target, splits)
    counts = likes.counts(graph.layout.count(target.tail_kind))
    taught = np.flatnonzero(counts)
    if facts is None or not len(taught):
        return
    tables = models.parameters_by_table(model)
    rows = slice(*graph.layout.range(target.tail_kind))
    own = models.items(settings, {name: tables[name][rows] for name in models.entity_tables(settings)})
    told = facts.predict(taught, own[torch.from_numpy(taught).to(own.device)], np.arange(len(counts)))
    changed = torch.from_numpy(unrated(graph, target, splits) & facts.known()).to(own.device)
    vectors = told
    if models.metric_of(settings) not in ("inner_product", "l2"):
        # Under a sum of distances a mean lies nearer to every user than any movie does, and would be on every list.
        vectors = told + _left_open(own, told, taught, settings)
    elif settings.export.facts_prior:
        likes_of = torch.from_numpy(counts).to(own.device)[:, None]
        blended = (likes_of * own + settings.export.facts_prior * told) / (likes_of + settings.export.facts_prior)
        blended = _with_popularity_of(own, blended, _mean_query(model, graph, settings, likes), settings)
        vectors = torch.where(changed[:, None], told, blended)
        changed = torch.ones_like(changed)
    for name, values in models.tables_of_items(settings, vectors).items():
        tables[name][rows] = torch.where(changed[:, None], values, tables[name][rows])


def unrated(graph: Graph, target: Relation, splits: Sequence[str]) -> np.ndarray:
    """bool (movies,): movies to which no user is related, by a like of `splits` or in any other way."""
    start, stop = graph.layout.range(target.tail_kind)
    heard = np.zeros(stop - start, bool)
    for relation in graph.relations:
        if (relation.head_kind, relation.tail_kind) == (target.head_kind, target.tail_kind):
            heard[graph.pairs(relation, splits if relation == target else (TRAIN,)).tails - start] = True
    return ~heard


def _left_open(own: torch.Tensor, told: torch.Tensor, taught: np.ndarray, settings: TrainSettings) -> torch.Tensor:
    """What facts leave open of vectors (n, width): a normal draw, as wide as what they leave open of `taught` ones."""
    spread = (own - told)[torch.from_numpy(taught).to(own.device)].std(dim=0, correction=0)
    generator = torch.Generator().manual_seed(settings.seed)  # on the CPU, so that devices draw the same
    return spread * torch.randn(told.shape, generator=generator).to(told.device)


def _mean_query(model: torch.nn.Module, graph: Graph, settings: TrainSettings, likes: Histories) -> torch.Tensor:
    """The mean translated vector (width,) of the users with likes."""
    tables, target = models.parameters_by_table(model), graph.relation(settings.target)
    relation = {name: tables[name][target.index, None] for name in models.relation_tables(settings)}
    start = graph.layout.range(target.head_kind)[0]
    total = torch.zeros(models.vector_width(settings), dtype=torch.float64, device=next(iter(tables.values())).device)
    asking = np.flatnonzero(likes.sizes)
    for _, heads in _blocks(asking):
        at = torch.from_numpy(heads + start).to(total.device)
        rows = {name: tables[name][at] for name in models.entity_tables(settings)}
        total += models.queries(settings, rows, relation).double().sum(0)
    return (total / len(asking)).float()


def _with_popularity_of(
    own: torch.Tensor, blended: torch.Tensor, axis: torch.Tensor, settings: TrainSettings
) -> torch.Tensor:
    """`blended` (n, width) with the component along `axis` (width,) of `own`; unit vectors stay unit vectors."""
    axis = F.normalize(axis, dim=0)
    popularity = (own @ axis)[:, None]  # (n, 1)
    taste = blended - (blended @ axis)[:, None] * axis
    if settings.model == "transe":
        taste = F.normalize(taste, dim=1) * (1 - popularity.square()).clamp(min=0).sqrt()
    return taste + popularity * axis


def _blocks(positions: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    for start in range(0, len(positions), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        yield block, positions[block]
