"""The audit's check that published scores follow from the published vectors, for a sample of users.

Whoever fills a vector store has the two tables of vectors and their description alone. So the scores of the sample's
recommendations are computed from these, and must be the published ones but for the rounding of float32.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kgspark.night.checks.rules_audit import MovieRules
from kgspark.night.night import Night
from kgspark.search_space import QUERIES, Scoring, SearchSpace, pairwise_scores, read_ids
from kgspark.spark.frames import DataFrame, read_table
from kgspark.spark.ranking.audit.checks import check_named
from kgspark.spark.ranking.audit.counts import with_our_names
from kgspark.spark.ranking.audit.findings import Finding, judge
from kgspark.spark.ranking.audit.sample import rows_of_queries
from kgspark.tables import MOVIE_VECTORS, RECOMMENDATIONS, SEARCH_SPACE, SOURCES, USER_VECTORS, Columns

CHECK = "vector_scores"


def check_vector_scores(night: Night, frames: Mapping[str, DataFrame]) -> Iterator[Finding]:
    """The findings of the check, one per table of vectors; none if it is off.

    frames  both tables of vectors, with our names
    """
    given, names, check = night.settings.audit.checks[CHECK], night.settings.names, check_named(CHECK)
    if given.severity == "off":
        return
    scoring = Scoring.from_json(night.run.manifest(USER_VECTORS).details["scoring"])
    rows = _sample(night)
    users, movies = (rows[column].combine_chunks() for column in (Columns.USER_ID, Columns.MOVIE_ID))
    queries = _vectors(frames[USER_VECTORS], Columns.USER_ID, users, scoring.dimension)
    items = _vectors(frames[MOVIE_VECTORS], Columns.MOVIE_ID, movies, scoring.dimension)
    own, tolerance = _scores(scoring, queries, items)
    if (rules := MovieRules.of(night, pc.unique(movies))) is not None:
        of_movies = np.asarray(pc.index_in(movies, value_set=pc.unique(movies)))
        largest = np.abs(own) + tolerance
        own = rules.final(own, of_movies)
        # A factor stretches the difference, and each boost rounds once more.
        stretch = np.abs(own) / np.maximum(largest, np.finfo(np.float32).tiny)
        tolerance = tolerance * np.maximum(stretch, 1) * 4 + 4 * np.finfo(np.float32).eps * (np.abs(own) + largest)
    published = rows[Columns.SCORE].to_numpy().astype(np.float64)
    wrong = np.flatnonzero(~(np.isfinite(own) & (np.abs(published - own) <= tolerance)))  # also if a vector is missing
    example = f"{len(rows):,} rows of {len(pc.unique(users)):,} {names.users} compared"
    if len(wrong):
        at = int(wrong[0])
        ids = f"{names.user_id} {users[at]}, {names.movie_id} {movies[at]}"
        example = f"{ids} has {published[at]:.7g}, the vectors give {own[at]:.7g}; {example}"
    for table in check.tables:
        yield judge(check, given, table, float(len(wrong)) if len(rows) else None, example, names)


def _sample(night: Night) -> pa.Table:
    """The recommendations of at most `audit.users` users, drawn with `audit.seed`, that vectors have ranked."""
    ids, settings = read_ids(night.run.table(SEARCH_SPACE), QUERIES), night.settings.audit
    drawn = np.random.default_rng(settings.seed).choice(len(ids), min(settings.users, len(ids)), replace=False)
    recommendations = read_table(night.spark, night.run.place(RECOMMENDATIONS))
    ours = with_our_names(recommendations, night.settings.names)
    rows = rows_of_queries(ours, Columns.USER_ID, ids.take(pa.array(np.sort(drawn))))
    return rows.filter(pc.is_in(rows[Columns.SOURCE], value_set=pa.array(SOURCES)))


def _vectors(rows: DataFrame, column: str, ids: pa.Array, dimension: int) -> np.ndarray:
    """The vectors float32 (n, d) of the ids; NaN for one that is missing or of another length."""
    wanted = pc.unique(ids)
    found = rows_of_queries(rows.select(column, Columns.VECTOR), column, wanted).combine_chunks()
    lists = pc.list_value_length(found[Columns.VECTOR])
    found = found.filter(pc.fill_null(pc.equal(lists, dimension), False))
    vectors = np.full((len(wanted), dimension), np.nan, np.float32)
    numbers = found[Columns.VECTOR].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    vectors[np.asarray(pc.index_in(found[column], value_set=wanted))] = numbers.reshape(-1, dimension)
    return vectors[np.asarray(pc.index_in(ids, value_set=wanted))]


def _scores(scoring: Scoring, queries: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The score of each pair (queries[i], items[i]), and the difference that float32's rounding explains, float64."""
    places = np.arange(len(queries))
    space = replace(SearchSpace.learned(queries, items, scoring.metric), offset=scoring.offset)
    scores = pairwise_scores(space, places, places)
    if scoring.metric == "inner_product":
        added = pairwise_scores(replace(space, queries=np.abs(queries), items=np.abs(items)), places, places)
    else:
        added = scoring.offset - scores
    # A sum of d terms of float32, and then the offset: each step rounds by half an epsilon at most.
    return scores, np.finfo(np.float32).eps * ((scoring.dimension + 2) * added + abs(scoring.offset))
