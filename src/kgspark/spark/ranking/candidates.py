"""The movies that may be recommended to each user: two tables of positions, made from conditions and lists.

`segments` puts each user into one segment, `candidates` lists the movies of each segment. A pair (user, movie) may be
recommended if and only if the movie is a candidate of the user's segment; this holds for both ranked tables, and the
audit checks it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kgspark.errors import InputError
from kgspark.graph.layout import MOVIE, USER, EntityLayout
from kgspark.spark.graph.entities import position_of
from kgspark.spark.graph.relations import resolve
from kgspark.spark.ranking.settings import REST, CandidateSettings
from kgspark.tables import MOVIES, RATINGS, USERS, Columns


@dataclass(frozen=True)
class Candidates:
    """The two tables, before or after they are written. `position` counts from 0 inside its kind.

    segments  user_id, position, segment: one row per user
    movies    movie_id, position, segment: one row per movie and segment that it is offered to
    """

    segments: DataFrame
    movies: DataFrame

    def allowed(self, pairs: DataFrame) -> DataFrame:
        """The rows of `pairs` (user_id, movie_id, ...) that may be recommended."""
        segments = self.segments.select(Columns.USER_ID, Columns.SEGMENT)
        offered = self.movies.select(Columns.MOVIE_ID, Columns.SEGMENT)
        of_segment = pairs.join(segments, on=Columns.USER_ID, how="inner")
        return of_segment.join(offered, on=[Columns.MOVIE_ID, Columns.SEGMENT], how="left_semi")


def build_candidates(
    settings: CandidateSettings,
    tables: Mapping[str, DataFrame],
    entities: DataFrame,
    layout: EntityLayout,
    id_type: str,
) -> Candidates:
    """Both tables from the conditions and lists of `settings`.

    tables  tables that conditions may name in a subquery (`movie_id IN (SELECT movie_id FROM catalogue)`); `ratings`
            must be one of them, and conditions may use the columns of `users` and `movies` if those are given

    Raises ConfigError with the dotted key of a condition that Spark cannot resolve, and InputError for a list without a
    column movie_id.
    """
    users = _with_columns(USER, tables.get(USERS), tables[RATINGS], entities, layout, id_type)
    movies = _with_columns(MOVIE, tables.get(MOVIES), tables[RATINGS], entities, layout, id_type)
    with _views(tables):
        movies = _offered(settings, movies, tables, id_type)
        offered = [_where(movies, s.movies, f"segments.{name}.movies") for name, s in settings.segments.items()]
        fitting = [_where(users, s.users, f"segments.{name}.users") for name, s in settings.segments.items()]
    names = [*settings.segments, REST]
    return Candidates(_first_fitting(names, [*fitting, users]), _in_segments(names, [*offered, movies]))


def _with_columns(
    kind: str, table: DataFrame | None, ratings: DataFrame, entities: DataFrame, layout: EntityLayout, id_type: str
) -> DataFrame:
    """Every user or movie: its id, `position`, number of `ratings`, and the columns of its own table."""
    id_name = f"{kind}_id"
    known = position_of(entities, layout, kind, id_type)
    counts = ratings.groupBy(id_name).agg(F.count("*").alias("ratings"))
    rows = known.join(counts, on=id_name, how="left").withColumn("ratings", F.coalesce("ratings", F.lit(0)))
    if table is None:
        return rows
    others = [name for name in table.columns if name not in (Columns.POSITION, "ratings")]
    return rows.join(table.select(*others), on=id_name, how="left")


def _offered(
    settings: CandidateSettings, movies: DataFrame, tables: Mapping[str, DataFrame], id_type: str
) -> DataFrame:
    """The movies that may be recommended to anyone; segments may restrict them further."""
    movies = movies.where(F.col("ratings") >= settings.min_ratings)
    if settings.where is not None:
        movies = _where(movies, settings.where, "where")
    if settings.allow is not None:
        movies = movies.join(_listed("allow", settings.allow, tables, id_type), on=Columns.MOVIE_ID, how="left_semi")
    if settings.deny is not None:
        movies = movies.join(_listed("deny", settings.deny, tables, id_type), on=Columns.MOVIE_ID, how="left_anti")
    return movies


def _listed(key: str, name: str, tables: Mapping[str, DataFrame], id_type: str) -> DataFrame:
    """The movie ids of the table `name` of `source.tables`, which is the value of `candidates.{key}`."""
    table = tables[name]
    if Columns.MOVIE_ID not in table.columns:
        raise InputError(
            f"source.tables.{name}: candidates.{key} needs a column movie_id; it has {', '.join(table.columns)}"
        )
    return table.select(F.col(Columns.MOVIE_ID).try_cast(id_type).alias(Columns.MOVIE_ID))


def _where(rows: DataFrame, condition: str, key: str) -> DataFrame:
    return resolve(f"candidates.{key}", rows, lambda: rows.where(condition))


def _first_fitting(names: Sequence[str], users: Sequence[DataFrame]) -> DataFrame:
    """Each user with the first fitting segment of `names`; `users` has, for each segment, the users that fit it."""
    ids = (Columns.USER_ID, Columns.POSITION)
    fitting = [part.select(*ids, F.lit(number).alias("number")) for number, part in enumerate(users)]
    first = reduce(DataFrame.unionAll, fitting).groupBy(*ids).agg(F.min("number").alias("number"))
    segment = F.element_at(F.array(*map(F.lit, names)), F.col("number") + 1)
    return first.select(*ids, segment.alias(Columns.SEGMENT))


def _in_segments(names: Sequence[str], movies: Sequence[DataFrame]) -> DataFrame:
    """The movies of each of the segments `names`, one row per movie and segment."""
    parts = [
        part.select(Columns.MOVIE_ID, Columns.POSITION, F.lit(name).alias(Columns.SEGMENT))
        for part, name in zip(movies, names, strict=True)
    ]
    return reduce(DataFrame.unionAll, parts)


@contextmanager
def _views(tables: Mapping[str, DataFrame]) -> Iterator[None]:
    """Makes the tables visible to subqueries, temporarily: Spark resolves a condition when it is applied."""
    for name, table in tables.items():
        table.createOrReplaceTempView(name)
    try:
        yield
    finally:
        for name, table in tables.items():
            table.sparkSession.catalog.dropTempView(name)
