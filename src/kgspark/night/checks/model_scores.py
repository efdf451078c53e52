"""The audit's comparison of published scores with the model's own, for a sample of users.

Everything else in the audit sees a table from outside. This check finds lists of another user, of another numbering or
of another model: it goes from the ids that were written when the model was trained, through the model file, to scores.
Ids that the night numbers now, and the vectors of the search space, play no part.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgspark.graph.histories import Histories
from kgspark.kge.export.model_files import MODEL_FILE
from kgspark.kge.export.recomputed import ModelFile
from kgspark.night.checks.rules_audit import MovieRules
from kgspark.night.night import Night
from kgspark.night.reads import list_length
from kgspark.search_space import ITEMS, QUERIES, SearchSpace, read_ids
from kgspark.spark.frames import DataFrame, read_table
from kgspark.spark.ranking.audit.checks import check_named
from kgspark.spark.ranking.audit.findings import Finding, judge
from kgspark.spark.ranking.audit.sample import TABLE, collect_likes, collect_rows
from kgspark.tables import (
    AUDIENCES,
    AVERAGE,
    LEARNED,
    MODEL,
    PLACED_SOURCES,
    RECOMMENDATIONS,
    SEARCH_SPACE,
    SOURCES,
    TRIPLES,
    Columns,
)

CHECK = "model_scores"
# Largest number of rows of a table that are compared, except recommendations, of which a user has no more than K.
_MOST_ROWS = 20_000
# Largest difference that rounding to float32 explains, relative to the user's largest score. Lists of neighbouring
# users differ by some per cent.
_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Sample:
    """A few users with learned vectors, and their rows in the ranked tables.

    The vectors of other users are computed from those of all users (see `kge.export.facts`), so a few rows of the model
    file do not give them.

    users      int64 (u,), sorted: their positions
    user_ids   of these users; movie_ids: of all movies, by position
    placed     int64, sorted: the positions of the movies with a vector of their own, which alone may be ranked by it
    likes      the movies that each of the users likes in the splits that the model has learned, with weights and times;
               without an entry if no score depends on them
    rows       table, user_id, movie_id, score, source: all of their recommendations, and some rows of the other tables
    owners, movies  int64 (n,): each row's user, a position in `users`, and its movie's position
    rules      the business rules of recommendations; None for none
    """

    model: ModelFile
    users: np.ndarray
    user_ids: pa.Array
    movie_ids: pa.Array
    placed: np.ndarray
    likes: Histories
    rows: pa.Table
    owners: np.ndarray
    movies: np.ndarray
    rules: MovieRules | None = None

    @classmethod
    def collect(cls, night: Night, tables: Mapping[str, DataFrame]) -> "Sample":
        """Draws `audit.users` users with `audit.seed`."""
        folder, settings = night.run.table(SEARCH_SPACE), night.settings.audit
        space = SearchSpace.load(folder)
        users = _draw(space.query_sources, settings.users, settings.seed)
        user_ids = read_ids(folder, QUERIES, len(space.queries)).take(pa.array(users))
        movie_ids = read_ids(folder, ITEMS, len(space.items))
        most = max(_MOST_ROWS, len(users) * list_length(night, RECOMMENDATIONS))
        rows = collect_rows(tables, user_ids, most, settings.seed)
        # Another check tells of movies that nobody knows.
        movies = pc.index_in(rows[Columns.MOVIE_ID], value_set=movie_ids)
        rows = rows.append_column("movie", movies).filter(pc.is_valid(movies))
        owners = pc.index_in(rows[Columns.USER_ID], value_set=user_ids)
        model = ModelFile.open(night.run.table(MODEL) / MODEL_FILE)
        needed = model.leans or AUDIENCES in tables
        likes = _likes(night, model, users) if needed else Histories.empty(len(users))
        owners, movies = (np.asarray(column).astype(np.int64) for column in (owners, rows["movie"]))
        placed = np.flatnonzero(space.item_sources != SOURCES.index(AVERAGE))
        rules = MovieRules.of(night, movie_ids)
        return cls(model, users, user_ids, movie_ids, placed, likes, rows, owners, movies, rules)

    @cached_property
    def own(self) -> np.ndarray:
        """The final score of every row, float64 (n,): the model's; by `rules`, with the boosts."""
        return self.final(self.of_model, self.movies, self.of_table(RECOMMENDATIONS))

    @cached_property
    def of_model(self) -> np.ndarray:
        """The model's score of every row, float64 (n,); those of audiences are comparable between users."""
        own, of_audiences = np.empty(len(self.owners)), self.of_table(AUDIENCES)
        for chosen, scores in ((~of_audiences, self.model.scores), (of_audiences, self.model.audience_scores)):
            if chosen.any():
                own[chosen] = scores(self.users, self.owners[chosen], self.movies[chosen], self.likes)
        return own

    def final(self, scores: np.ndarray, movies: np.ndarray, recommended: np.ndarray | None = None) -> np.ndarray:
        """The final scores of movies with the model's scores float64 (n,), of all or of those in the mask."""
        if self.rules is None:
            return scores
        final = self.rules.final(scores, movies)
        return final if recommended is None else np.where(recommended, final, scores)

    @cached_property
    def by_rule(self) -> np.ndarray:
        """Mask bool (n,) of the rows that a business rule has placed."""
        return np.asarray(pc.is_in(self.rows[Columns.SOURCE], value_set=pa.array(PLACED_SOURCES)))

    def of_table(self, table: str) -> np.ndarray:
        """Mask bool (n,) of the rows of a table."""
        return np.asarray(pc.equal(self.rows[TABLE], table))

    def tolerances(self, table: str) -> np.ndarray:
        """The largest difference between two scores of a user in a table that rounding explains, float64 (u,)."""
        largest, of_table = np.zeros(len(self.users)), self.of_table(table)
        for scores in (self.own,) if self.rules is None else (self.own, self.of_model):
            np.maximum.at(largest, self.owners[of_table], np.abs(scores[of_table]))
        return _TOLERANCE * largest + 1e-6


def compare_scores(night: Night, sample: Sample, table: str) -> Finding:
    """The finding of one ranked table: its rows in the sample whose score is not the model's."""
    # A pinned movie may have no vector of its own.
    of_table = sample.of_table(table) & ~(sample.by_rule & ~np.isin(sample.movies, sample.placed))
    rows, own, owners = sample.rows.filter(pa.array(of_table)), sample.own[of_table], sample.owners[of_table]
    published = rows[Columns.SCORE].to_numpy().astype(np.float64)
    differs = ~(np.abs(published - own) <= sample.tolerances(table)[owners])  # also if a score is NaN
    wrong = np.flatnonzero(differs)
    names = night.settings.names
    example = f"{len(rows):,} rows of {len(np.unique(owners)):,} {names.users} compared"
    if len(wrong):
        row = rows.slice(wrong[0], 1).to_pylist()[0]
        ids = f"{names.user_id} {row[Columns.USER_ID]}, {names.movie_id} {row[Columns.MOVIE_ID]}"
        example = f"{ids} has {published[wrong[0]]:.6g}, the model gives {own[wrong[0]]:.6g}; {example}"
    value = float(len(wrong)) if len(rows) else None
    return judge(check_named(CHECK), night.settings.audit.checks[CHECK], table, value, example, names)


def _draw(sources: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Positions int64, sorted, of at most `most` users with learned vectors."""
    learned = np.flatnonzero(sources == SOURCES.index(LEARNED))
    return np.sort(np.random.default_rng(seed).choice(learned, min(most, len(learned)), replace=False))


def _likes(night: Night, model: ModelFile, users: np.ndarray) -> Histories:
    """The likes of the users that the model has learned, with weights and times."""
    relation, layout = model.target, model.header.layout
    first_head, first_tail = (layout.range(kind)[0] for kind in (relation.head_kind, relation.tail_kind))
    triples = read_table(night.spark, night.run.place(TRIPLES))
    splits = model.header.settings.learned_splits
    found = collect_likes(triples, relation.index, splits, pa.array(users + first_head)).sort_by(Columns.HEAD)
    names = (Columns.HEAD, Columns.TAIL, Columns.WEIGHT, Columns.TIMESTAMP)
    heads, tails, weights, times = (found[name].to_numpy() for name in names)
    sizes = np.bincount(np.searchsorted(users, heads - first_head), minlength=len(users))
    return Histories.from_sizes(sizes, tails - first_tail, weights.astype(np.float32), times if times.any() else None)
