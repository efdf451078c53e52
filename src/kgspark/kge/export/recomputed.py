"""Scores of given pairs from a model file alone, for the audit: by another path than the search space's vectors.

The rows of the pairs are read from the file, put into a small tgraphx model, and scored by its own `score_triples`, in
float64. Only queries that lean towards the latest likes need `recency.lean`, and scores with a trend the inner product:
tgraphx has no such scores. The likes come from the triples.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from kgspark.graph.histories import Histories
from kgspark.graph.relation import Relation
from kgspark.kge.export.audience import audience_space
from kgspark.kge.export.model_files import TREND, SavedModel, load_model
from kgspark.kge.export.trend import with_trend
from kgspark.kge.export.vectors import with_histories
from kgspark.kge.model.history import HistoryEncoder, is_movie_table, is_whole_table
from kgspark.kge.model.scoring import pair_scores
from kgspark.kge.model.two_tower import build_model, items_of, parameters_by_table, queries_of, tower_of
from kgspark.search_space import Metric, SearchSpace, pairwise_scores

# Pairs scored at once: RESCAL gathers a matrix for each.
_BLOCK = 1024


@dataclass(frozen=True)
class ModelFile:
    """A model file whose weights are not read yet."""

    path: Path
    header: SavedModel

    @classmethod
    def open(cls, path: Path) -> "ModelFile":
        """Raises InputError if the file is missing or is no model file."""
        return cls(path, load_model(path, _rows_of_none))

    @property
    def target(self) -> Relation:
        """The relation that movies are recommended by."""
        name = self.header.settings.target
        return next(relation for relation in self.header.relations if relation.name == name)

    @property
    def leans(self) -> bool:
        """True if queries lean towards the latest likes of `settings.learned_splits`."""
        return self.header.settings.export.recent_share not in ("auto", 0)

    def scores(self, users: np.ndarray, owners: np.ndarray, movies: np.ndarray, likes: Histories | None) -> np.ndarray:
        """Scores float64 (n,) of the pairs (users[owners[i]], movies[i]).

        users   int64 (u,): positions of users who have likes in `settings.learned_splits`
        owners  int64 (n,): positions in `users`
        movies  int64 (n,): positions of movies
        likes   positions of the movies that each of the users likes there, with weights and times; read if `leans`
        """
        liked = likes if likes is not None and likes.times is not None and self.leans else Histories.empty(len(users))
        chosen = np.unique(np.concatenate([movies, liked.indices]))
        model, encoder, trend = self._model(users, chosen)
        tails = torch.from_numpy(np.searchsorted(chosen, movies))
        heads = torch.from_numpy(owners)
        with torch.no_grad():
            if not len(liked.indices) and encoder is None and trend is None:
                relation = torch.full_like(heads, self.target.index)
                triples = torch.stack([heads, relation, tails + len(users)], dim=1)
                score: Callable[[torch.Tensor], torch.Tensor] = model.score_triples  # type: ignore[assignment]
                return torch.cat([score(part) for part in triples.split(_BLOCK)]).numpy()
            known = replace(liked, indices=np.searchsorted(chosen, liked.indices))
            queries, items, metric = self._vectors(model, encoder, trend, len(users), known)
            pairs = zip(heads.split(_BLOCK), tails.split(_BLOCK), strict=True)
            scores = torch.cat([pair_scores(queries[head], items[tail], metric) for head, tail in pairs])
            return (scores + tower_of(self.header.settings).offset(model)).numpy()

    def movie_vectors(self, movies: np.ndarray) -> np.ndarray:
        """The vectors float64 (n, width) of movies at the positions int64 (n,) that tell what is like what."""
        with torch.no_grad():
            model, encoder, _ = self._model(np.empty(0, np.int64), movies)
            items = own = items_of(self.header.settings, model, slice(0, len(movies)))
            if encoder is not None and self.leans:
                _, items = encoder.ranked(own[:0], own)
        return items[:, : own.shape[1]].numpy()

    def audience_scores(
        self, users: np.ndarray, owners: np.ndarray, movies: np.ndarray, likes: Histories
    ) -> np.ndarray:
        """The same with the scores of audiences (see `export.audience`), which depend on all movies.

        likes  as in `scores`, and always read
        """
        settings, device = self.header.settings, torch.device("cpu")
        catalogue = np.arange(self.header.layout.count(self.target.tail_kind))
        with torch.no_grad():
            model, encoder, _ = self._model(users, catalogue)
            queries, items, metric = self._vectors(model, encoder, None, len(users), likes)
        space = SearchSpace.learned(queries.float().numpy(), items.float().numpy(), metric)
        activity = settings.export.audience_activity
        of_audiences = audience_space(space, likes.sizes, settings.temperature, activity, device)
        return pairwise_scores(of_audiences, owners, movies)

    def _vectors(
        self,
        model: torch.nn.Module,
        encoder: HistoryEncoder | None,
        trend: torch.Tensor | None,
        users: int,
        likes: Histories,
    ) -> tuple[torch.Tensor, torch.Tensor, Metric]:
        """Queries, items and metric of a model whose first entities are the `users`, and whose others are movies."""
        settings = self.header.settings
        queries = queries_of(settings, model, slice(0, users), self.target.index)
        items = items_of(settings, model, slice(users, None))
        asked = None if self.header.asked is None else self.header.asked.of(likes)
        return with_trend(*with_histories(queries, items, likes, settings, encoder, asked), trend)

    def _model(
        self, users: np.ndarray, movies: np.ndarray
    ) -> tuple[torch.nn.Module, HistoryEncoder | None, torch.Tensor | None]:
        """A model in float64 whose entities are these users, then these movies; all relations. Its encoder and trend
        are those of these movies."""
        layout, settings = self.header.layout, self.header.settings
        starts = (layout.range(kind)[0] for kind in (self.target.head_kind, self.target.tail_kind))
        rows = np.concatenate([part + start for part, start in zip((users, movies), starts, strict=True)])
        tables = tower_of(settings).entity_tables
        saved = load_model(self.path, _rows_of(tables, torch.from_numpy(rows), torch.from_numpy(movies)))
        model = build_model(settings, len(rows), len(saved.relations)).double()
        for name, table in parameters_by_table(model).items():
            table.copy_(saved.tables[name])
        return model, None if saved.encoder is None else saved.encoder.double(), saved.trend


def _rows_of_none(name: str, table: torch.Tensor) -> torch.Tensor:
    # The tables of an encoder as a whole tell its sizes by theirs, and are small.
    return table if is_whole_table(name) else table[:0]


def _rows_of(
    entity_tables: tuple[str, ...], entities: torch.Tensor, movies: torch.Tensor
) -> Callable[[str, torch.Tensor], torch.Tensor]:
    """Keeps these rows of the tables of entities and of movies, and all rows of other tables. The file is mapped."""

    def pick(name: str, table: torch.Tensor) -> torch.Tensor:
        if is_movie_table(name) or name == TREND:
            return table[movies]
        return table[entities] if name in entity_tables else table

    return pick
