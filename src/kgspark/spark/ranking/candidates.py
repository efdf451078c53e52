"""Which movies may be recommended, and to whom: conditions and lists turned into two tables of positions.

`segments` puts each user into one segment, `candidates` lists the movies of each segment. A pair (user, movie) may be
recommended exactly where the movie is a candidate of the user's segment; both ranked tables obey it, and the audit
checks it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kgspark.errors import InputError
from kgspark.graph.layout import MOVIE, USER, EntityLayout
from kgspark.spark.graph.entities import index_of
from kgspark.spark.graph.relations import resolved
from kgspark.spark.settings import REST, CandidateSettings
from kgspark.tables import MOVIES, RATINGS, USERS


@dataclass(frozen=True)
class Candidates:
    """The two tables, once written or as they are to be.

    segments  user_id, index (from 0), segment: one row a user
    movies    movie_id, index (from 0), segment: one row a movie and segment that may have it
    """

    segments: DataFrame
    movies: DataFrame

    def allowed(self, pairs: DataFrame) -> DataFrame:
        """The rows of `pairs` (user_id, movie_id, ...) that may be recommended."""
        placed = pairs.join(self.segments.select("user_id", "segment"), on="user_id")
        return placed.join(self.movies.select("movie_id", "segment"), on=["movie_id", "segment"], how="left_semi")


def build_candidates(
    settings: CandidateSettings,
    tables: Mapping[str, DataFrame],
    entities: DataFrame,
    layout: EntityLayout,
    id_type: str,
) -> Candidates:
    """Both tables from the conditions and lists of `settings`.

    tables  what conditions may name in a subquery (`movie_id IN (SELECT movie_id FROM catalogue)`), `ratings` among
            them; `users` and `movies` lend their columns where they are there
    Raises ConfigError with the dotted key of a condition that Spark cannot resolve, InputError for a list that lacks
    the column movie_id.
    """
    users = _described(USER, tables.get(USERS), tables[RATINGS], entities, layout, id_type)
    movies = _described(MOVIE, tables.get(MOVIES), tables[RATINGS], entities, layout, id_type)
    with _views(tables):
        movies = _offered(settings, movies, tables, id_type)
        parts = [_where(movies, s.movies, f"segments.{name}.movies") for name, s in settings.segments.items()]
        fitting = [_where(users, s.users, f"segments.{name}.users") for name, s in settings.segments.items()]
    names = [*settings.segments, REST]
    of_segment = [
        part.select("movie_id", "index", F.lit(name).alias("segment"))
        for part, name in zip([*parts, movies], names, strict=True)
    ]
    placed = [
        part.select("user_id", "index", F.lit(place).alias("place")) for place, part in enumerate([*fitting, users])
    ]
    first = reduce(DataFrame.unionAll, placed).groupBy("user_id", "index").agg(F.min("place").alias("place"))
    segment = F.element_at(F.array(*map(F.lit, names)), F.col("place") + 1)
    return Candidates(
        first.select("user_id", "index", segment.alias("segment")), reduce(DataFrame.unionAll, of_segment)
    )


def _described(
    kind: str, table: DataFrame | None, ratings: DataFrame, entities: DataFrame, layout: EntityLayout, id_type: str
) -> DataFrame:
    """Every user or movie: its id, `index` from 0, `ratings`, and the columns of its own table."""
    id_name = f"{kind}_id"
    known = index_of(entities, kind, id_type, id_name, "index")
    rows = known.withColumn("index", F.col("index") - layout.range(kind)[0])
    counted = ratings.groupBy(id_name).agg(F.count("*").alias("ratings"))
    rows = rows.join(counted, on=id_name, how="left").withColumn("ratings", F.coalesce("ratings", F.lit(0)))
    if table is None:
        return rows
    others = [name for name in table.columns if name not in ("index", "ratings")]
    return rows.join(table.select(*others), on=id_name, how="left")


def _offered(
    settings: CandidateSettings, movies: DataFrame, tables: Mapping[str, DataFrame], id_type: str
) -> DataFrame:
    """The movies that anybody may be recommended."""
    movies = movies.where(F.col("ratings") >= settings.min_ratings)
    if settings.where is not None:
        movies = _where(movies, settings.where, "where")
    if settings.allow is not None:
        movies = movies.join(_listed("allow", settings.allow, tables, id_type), on="movie_id", how="left_semi")
    if settings.deny is not None:
        movies = movies.join(_listed("deny", settings.deny, tables, id_type), on="movie_id", how="left_anti")
    return movies


def _listed(key: str, name: str, tables: Mapping[str, DataFrame], id_type: str) -> DataFrame:
    table = tables[name]
    if "movie_id" not in table.columns:
        raise InputError(
            f"source.tables.{name}: candidates.{key} needs a column movie_id; it has {', '.join(table.columns)}"
        )
    return table.select(F.col("movie_id").try_cast(id_type).alias("movie_id"))


def _where(rows: DataFrame, condition: str, key: str) -> DataFrame:
    return resolved(f"candidates.{key}", rows, lambda: rows.where(condition))


@contextmanager
def _views(tables: Mapping[str, DataFrame]) -> Iterator[None]:
    """Names the tables for subqueries. A condition is resolved when it is applied, so the names need not stay."""
    for name, table in tables.items():
        table.createOrReplaceTempView(name)
    try:
        yield
    finally:
        for name, table in tables.items():
            table.sparkSession.catalog.dropTempView(name)
