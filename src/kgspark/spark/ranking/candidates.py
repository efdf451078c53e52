"""The movies that may be recommended to each user: two tables of positions, made from conditions and lists.

`segments` puts each user into one segment, `candidates` lists the movies of each segment. A pair (user, movie) may be
recommended if and only if the movie is a candidate of the user's segment; this holds for both ranked tables, and the
audit checks it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from kgspark.config import sql_texts
from kgspark.errors import InputError
from kgspark.graph.layout import MOVIE, USER, EntityLayout
from kgspark.spark.graph.entities import position_of
from kgspark.spark.graph.relations import resolve
from kgspark.spark.ranking.settings import REST, CandidateSettings
from kgspark.spark.sql_safety import tables_in_sql
from kgspark.spark.unknown_ids import NamedIds, id_column
from kgspark.tables import CLEAN, MOVIES, RATINGS, USERS, Columns

# The columns of the user's own tables that hold ids, by kind.
_ID_COLUMNS = {USER: Columns.USER_ID, MOVIE: Columns.MOVIE_ID}


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
    null_texts: Sequence[str] = (),
) -> Candidates:
    """Both tables from the conditions and lists of `settings`.

    tables      tables that conditions may name in a subquery (`movie_id IN (SELECT movie_id FROM catalogue)`);
                `ratings` must be one of them, and conditions may use the columns of `users` and `movies` if those are
                given. In the user's own tables, the columns user_id and movie_id are read as ids; a row whose id is
                none is left out.
    null_texts  texts that stand for a missing id

    Raises ConfigError with the dotted key of a condition that Spark cannot resolve, and InputError for a list without a
    column movie_id.
    """
    users = _with_columns(USER, tables.get(USERS), tables[RATINGS], entities, layout, id_type)
    movies = _with_columns(MOVIE, tables.get(MOVIES), tables[RATINGS], entities, layout, id_type)
    typed = {name: _with_read_ids(name, table, id_type, null_texts) for name, table in tables.items()}
    with _views(typed):
        movies = _offered(settings, movies, typed)
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


def _with_read_ids(name: str, table: DataFrame, id_type: str, null_texts: Sequence[str]) -> DataFrame:
    """A table as conditions and lists see it. A null among ids would make `NOT IN` false for every row."""
    if name in CLEAN:
        return table
    ids = [column for column in _ID_COLUMNS.values() if column in table.columns]
    read = table
    for column in ids:
        read = read.withColumn(column, id_column(table, column, id_type, null_texts))
    return read.dropna(subset=ids) if ids else read


def _offered(settings: CandidateSettings, movies: DataFrame, tables: Mapping[str, DataFrame]) -> DataFrame:
    """The movies that may be recommended to anyone; segments may restrict them further."""
    movies = movies.where(F.col("ratings") >= settings.min_ratings)
    if settings.where is not None:
        movies = _where(movies, settings.where, "where")
    if settings.allow is not None:
        movies = movies.join(_listed("allow", settings.allow, tables), on=Columns.MOVIE_ID, how="left_semi")
    if settings.deny is not None:
        movies = movies.join(_listed("deny", settings.deny, tables), on=Columns.MOVIE_ID, how="left_anti")
    return movies


def _listed(key: str, name: str, tables: Mapping[str, DataFrame]) -> DataFrame:
    """The movie ids of the table `name` of `source.tables`, which is the value of `candidates.{key}`."""
    table = tables[name]
    if Columns.MOVIE_ID not in table.columns:
        raise InputError(
            f"source.tables.{name}: candidates.{key} needs a column movie_id; it has {', '.join(table.columns)}"
        )
    return table.select(Columns.MOVIE_ID)


def _where(rows: DataFrame, condition: str, key: str) -> DataFrame:
    return resolve(f"candidates.{key}", rows, lambda: rows.where(condition))


def own_tables_of(session: SparkSession, settings: CandidateSettings, tables: Collection[str]) -> dict[str, str]:
    """The user's own tables that candidates use, each with the dotted key of the setting that uses it first.

    tables  the names of all tables that conditions may query
    """
    lists = {"candidates.deny": settings.deny, "candidates.allow": settings.allow}
    used = {key: [name] for key, name in lists.items() if name is not None}
    for key, condition, _ in sql_texts(settings, ("candidates",)):
        used[key] = tables_in_sql(session, key, condition, tables)
    first: dict[str, str] = {}
    for key, names in used.items():
        for name in names:
            if name not in CLEAN:
                first.setdefault(name, key)
    return first


def listed_ids(used: Mapping[str, str], tables: Mapping[str, DataFrame]) -> list[NamedIds]:
    """The ids in the tables of `own_tables_of`. Lazy."""
    return [
        NamedIds(key, name, kind, tables[name], column)
        for name, key in used.items()
        for kind, column in _ID_COLUMNS.items()
        if column in tables[name].columns
    ]


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
