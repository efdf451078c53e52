"""The audit's comparison of the table of similar movies with the model, for a sample of movies.

Cosines with all movies are computed again, in float64, from the model file alone (`kge.export.recomputed`). Listed ones
must have these scores, and no movie that is offered may be better than the last one of a list that lacks it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from kgspark.kge.export.model_files import MODEL_FILE
from kgspark.kge.export.recomputed import ModelFile
from kgspark.night.night import Night
from kgspark.night.reads import candidate_tables
from kgspark.search_space import ITEMS, SearchSpace, read_ids
from kgspark.spark.frames import DataFrame
from kgspark.spark.ranking.audit.checks import check_named
from kgspark.spark.ranking.audit.findings import Finding, judge
from kgspark.spark.ranking.audit.sample import rows_of_queries
from kgspark.tables import AVERAGE, CANDIDATES, MODEL, SEARCH_SPACE, SIMILAR_ITEMS, SOURCES, Columns

# What rounding to float32 explains.
_TOLERANCE = 1e-4
# Movies whose vectors are read at once.
_BLOCK = 1 << 14


@dataclass(frozen=True)
class _Lists:
    """The published lists of a few movies.

    queries  int64 (q,): their positions
    owners, items, scores  of each row: a position in `queries`, the listed movie's position, and the published score
    """

    queries: np.ndarray
    owners: np.ndarray
    items: np.ndarray
    scores: np.ndarray


def check_similar(night: Night, rows: DataFrame) -> Iterator[Finding]:
    """The findings of the checks `model_scores` and `top_k`, but for those that are off.

    rows  of the table, with our names
    """
    space, names = SearchSpace.load(night.run.table(SEARCH_SPACE)), night.settings.names
    ids = read_ids(night.run.table(SEARCH_SPACE), ITEMS, len(space.items))
    placed = space.item_sources != SOURCES.index(AVERAGE)
    lists = _collect(night, rows, ids, np.flatnonzero(placed))
    wrong, better = _compare(ModelFile.open(night.run.table(MODEL) / MODEL_FILE), lists, placed & _offered(night, ids))
    exact = night.run.manifest(SIMILAR_ITEMS).details["search"] == ["flat"]
    measured = {"model_scores": (wrong, True), "top_k": (better, exact)}
    for check, (pairs, counts) in measured.items():
        given = night.settings.audit.checks[check]
        if given.severity == "off":
            continue
        example = f"{len(lists.queries):,} {names.movies} compared with {len(ids):,}"
        if len(pairs):
            query, item = (ids[int(position)] for position in pairs[0])
            example = f"{names.movie_id} {query}, {names.similar_movie_id} {item}; {example}"
        value = float(len(pairs)) if counts and len(lists.owners) else None
        yield judge(check_named(check), given, SIMILAR_ITEMS, value, example, names)


def _collect(night: Night, rows: DataFrame, ids: pa.Array, placed: np.ndarray) -> _Lists:
    settings = night.settings.audit
    draw = np.random.default_rng(settings.seed)
    queries = np.sort(draw.choice(placed, min(settings.users, len(placed)), replace=False))
    found = rows_of_queries(rows, Columns.MOVIE_ID, ids.take(pa.array(queries)))
    columns = (Columns.MOVIE_ID, Columns.SIMILAR)
    positions = [pc.index_in(found[name], value_set=ids) for name in columns]
    known = pc.is_valid(positions[1])  # another check tells of movies that nobody knows
    owners, items = (np.asarray(column.filter(known)).astype(np.int64) for column in positions)
    return _Lists(queries, np.searchsorted(queries, owners), items, np.asarray(found[Columns.SCORE].filter(known)))


def _offered(night: Night, ids: pa.Array) -> np.ndarray:
    """Mask bool (movies,) of those that any segment is offered."""
    offered = np.ones(len(ids), bool)
    if candidate_tables(night):
        offered[:] = False
        files = sorted(night.run.table(CANDIDATES).glob("*.parquet"))
        offered[ds.dataset(files).to_table(columns=[Columns.POSITION])[Columns.POSITION].to_numpy()] = True
    return offered


def _compare(model: ModelFile, lists: _Lists, rankable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs int64 (n, 2) of positions: listed with another score than the model's, and missing though better."""
    of_queries = _units(model.movie_vectors(lists.queries))
    last = np.full(len(lists.queries), np.inf)
    np.minimum.at(last, lists.owners, lists.scores.astype(np.float64))
    wrong, better = [np.empty((0, 2), np.int64)], [np.empty((0, 2), np.int64)]
    for start in range(0, len(rankable), _BLOCK):
        movies = np.arange(start, min(start + _BLOCK, len(rankable)))
        cosines = of_queries @ _units(model.movie_vectors(movies)).T
        here = np.flatnonzero((lists.items >= start) & (lists.items < start + len(movies)))
        owners, columns = lists.owners[here], lists.items[here] - start
        differs = ~(np.abs(cosines[owners, columns] - lists.scores[here]) <= _TOLERANCE)  # also if a score is NaN
        wrong.append(np.column_stack([lists.queries[owners[differs]], lists.items[here[differs]]]))
        missing = (cosines > last[:, None] + _TOLERANCE) & rankable[movies] & (lists.queries[:, None] != movies)
        missing[owners, columns] = False
        rows, columns = np.nonzero(missing)
        better.append(np.column_stack([lists.queries[rows], movies[columns]]))
    return np.concatenate(wrong), np.concatenate(better)


def _units(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1))
