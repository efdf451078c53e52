"""The audit's comparison of published scores with the model's own, for a sample of users.

Everything else in the audit sees a table from outside. This check finds lists of another user, of another numbering or
of another model: it goes from the ids that were written when the model was trained, through the model file, to scores.
Ids that the night numbers now, and the vectors of the search space, play no part.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgspark.graph.histories import Histories
from kgspark.kge.export.model_files import MODEL_FILE
from kgspark.kge.export.recomputed import ModelFile
from kgspark.night.night import Night
from kgspark.search_space import ITEMS, QUERIES, SearchSpace, read_ids
from kgspark.spark.frames import DataFrame, read_table
from kgspark.spark.ranking.audit.checks import CHECKS, Check
from kgspark.spark.ranking.audit.findings import Finding, judge
from kgspark.spark.ranking.audit.sample import TABLE, collect_likes, collect_rows
from kgspark.tables import AUDIENCES, LEARNED, MODEL, SEARCH_SPACE, SOURCES, TRIPLES, Columns

CHECK = "model_scores"
# Largest number of rows of a table that are compared.
_MOST_ROWS = 20_000
# Largest difference that rounding to float32 explains, relative to the user's largest score. Lists of neighbouring
# users differ by some per cent.
_TOLERANCE = 1e-4


def compare_scores(night: Night, tables: Mapping[str, DataFrame]) -> list[Finding]:
    """One finding per ranked table: its rows of the sample whose score is not the model's.

    The sample is drawn from the users with learned vectors. The vectors of the others are computed from those of all
    users (see `kge.export.facts`), so a few rows of the file do not give them.
    """
    check = next(check for check in CHECKS if check.name == CHECK)
    given = night.settings.audit.checks[CHECK]
    folder = night.run.table(SEARCH_SPACE)
    space = SearchSpace.load(folder)
    users = _draw(space.query_sources, night.settings.audit.users, night.settings.audit.seed)
    if given.severity == "off" or not len(users):
        return [] if given.severity == "off" else [judge(check, given, name, None) for name in tables]
    user_ids = read_ids(folder, QUERIES, len(space.queries)).take(pa.array(users))
    movie_ids = read_ids(folder, ITEMS, len(space.items))
    rows = collect_rows(tables, user_ids, _MOST_ROWS, night.settings.audit.seed)
    # Another check tells of movies that nobody knows.
    movies = pc.index_in(rows[Columns.MOVIE_ID], value_set=movie_ids)
    rows = rows.append_column("movie", movies).filter(pc.is_valid(movies))
    owners = pc.index_in(rows[Columns.USER_ID], value_set=user_ids)
    own = _own_scores(night, users, rows, *(np.asarray(c).astype(np.int64) for c in (owners, rows["movie"])))
    return [_finding(night, check, name, rows, own, np.asarray(owners)) for name in tables]


def _draw(sources: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Positions int64, sorted, of at most `most` users with learned vectors."""
    learned = np.flatnonzero(sources == SOURCES.index(LEARNED))
    return np.sort(np.random.default_rng(seed).choice(learned, min(most, len(learned)), replace=False))


def _own_scores(night: Night, users: np.ndarray, rows: pa.Table, owners: np.ndarray, movies: np.ndarray) -> np.ndarray:
    """The model's score of every row, float64 (n,); those of audiences are comparable between users."""
    model = ModelFile.open(night.run.table(MODEL) / MODEL_FILE)
    of_audiences = np.asarray(pc.equal(rows[TABLE], AUDIENCES))
    likes = _likes(night, model, users) if model.leans or of_audiences.any() else Histories.empty(len(users))
    own = np.empty(len(owners))
    for chosen, scores in ((~of_audiences, model.scores), (of_audiences, model.audience_scores)):
        if chosen.any():
            own[chosen] = scores(users, owners[chosen], movies[chosen], likes)
    return own


def _likes(night: Night, model: ModelFile, users: np.ndarray) -> Histories:
    """The likes of the users that the model has learned, with times."""
    relation, layout = model.target, model.header.layout
    first_head, first_tail = (layout.range(kind)[0] for kind in (relation.head_kind, relation.tail_kind))
    triples = read_table(night.spark, night.run.table(TRIPLES))
    splits = model.header.settings.learned_splits
    found = collect_likes(triples, relation.index, splits, pa.array(users + first_head)).sort_by(Columns.HEAD)
    heads, tails, times = (found[name].to_numpy() for name in (Columns.HEAD, Columns.TAIL, Columns.TIMESTAMP))
    sizes = np.bincount(np.searchsorted(users, heads - first_head), minlength=len(users))
    return Histories.from_sizes(sizes, tails - first_tail, times=times if times.any() else None)


def _finding(night: Night, check: Check, table: str, rows: pa.Table, own: np.ndarray, owners: np.ndarray) -> Finding:
    """The finding of one table: `rows` of all tables, their scores `own` by the model, and their users `owners`."""
    published = rows[Columns.SCORE].to_numpy().astype(np.float64)
    largest = np.zeros(owners.max(initial=0) + 1)
    np.maximum.at(largest, owners, np.abs(own))
    differs = ~(np.abs(published - own) <= _TOLERANCE * largest[owners] + 1e-6)  # also if a score is NaN
    of_table = np.asarray(pc.equal(rows[TABLE], table))
    wrong = np.flatnonzero(differs & of_table)
    example = f"{of_table.sum():,} rows of {len(np.unique(owners[of_table])):,} users compared"
    if len(wrong):
        row = rows.slice(wrong[0], 1).to_pylist()[0]
        ids = f"{Columns.USER_ID} {row[Columns.USER_ID]}, {Columns.MOVIE_ID} {row[Columns.MOVIE_ID]}"
        example = f"{ids} has {published[wrong[0]]:.6g}, the model gives {own[wrong[0]]:.6g}; {example}"
    value = float(len(wrong)) if of_table.any() else None
    return judge(check, night.settings.audit.checks[CHECK], table, value, example)
