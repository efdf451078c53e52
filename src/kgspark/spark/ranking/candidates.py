"""The movies that may be recommended to each user: two tables of positions, made from conditions and lists.

`segments` puts each user into one segment, `candidates` lists the movies of each segment. A pair (user, movie) may be
recommended if and only if the movie is a candidate of the user's segment; this holds for both ranked tables, and the
audit checks it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from kgspark.config import sql_texts
from kgspark.errors import InputError
from kgspark.graph.layout import MOVIE, USER, EntityLayout
from kgspark.spark.graph.relations import resolve
from kgspark.spark.ranking.movie_columns import ID_COLUMNS, views, with_columns
from kgspark.spark.ranking.pins import with_pins
from kgspark.spark.ranking.rule_settings import RuleSettings
from kgspark.spark.ranking.settings import REST, CandidateSettings, SegmentSettings
from kgspark.spark.sql_safety import tables_in_sql
from kgspark.spark.unknown_ids import NamedIds
from kgspark.tables import CLEAN, MOVIES, RATINGS, USERS, Columns


@dataclass(frozen=True)
class Candidates:
    """The two tables, before or after they are written. `position` counts from 0 inside its kind.

    segments  user_id, position, segment: one row per user
    movies    movie_id, position, segment: one row per movie and segment that it is offered to; with pinned movies also
              `place`: the place of a pinned movie among those of its segment, from 1, null for others
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
    liked: str = "true",
) -> Candidates:
    """Both tables from the conditions and lists of `settings`.

    tables      tables that conditions may name in a subquery (`movie_id IN (SELECT movie_id FROM catalogue)`);
                `ratings` must be one of them, and conditions may use the columns of `users` and `movies` if those are
                given. In the user's own tables, the columns user_id and movie_id are read as ids; a row whose id is
                none is left out.
    null_texts  texts that stand for a missing id
    liked       condition on the ratings: those that `min_likes` counts

    Raises ConfigError with the dotted key of a condition that Spark cannot resolve, and InputError for a list without a
    column movie_id.
    """
    counted = liked if settings.min_likes else None
    users = with_columns(USER, tables.get(USERS), tables[RATINGS], entities, layout, id_type)
    movies = with_columns(MOVIE, tables.get(MOVIES), tables[RATINGS], entities, layout, id_type, counted)
    with views(tables, id_type, null_texts) as typed:
        movies = _offered(settings, movies, typed)
        offered = [_of_segment(movies, name, s, typed) for name, s in settings.segments.items()]
        fitting = [_where(users, s.users, f"segments.{name}.users") for name, s in settings.segments.items()]
        names = [*settings.segments, REST]
        in_segments = _in_segments(names, [*offered, movies])
        if settings.pins:
            in_segments = with_pins(in_segments, settings, lambda key, name: listed(key, name, typed))
    return Candidates(_first_fitting(names, [*fitting, users]), in_segments)


def _offered(settings: CandidateSettings, movies: DataFrame, tables: Mapping[str, DataFrame]) -> DataFrame:
    """The movies that may be recommended to anyone; segments may restrict them further."""
    movies = movies.where(F.col("ratings") >= settings.min_ratings)
    if settings.min_likes:
        movies = movies.where(F.col(Columns.LIKES) >= settings.min_likes)
    if settings.where is not None:
        movies = _where(movies, settings.where, "where")
    if settings.allow is not None:
        movies = movies.join(
            listed("allow", settings.allow, tables).select(Columns.MOVIE_ID), on=Columns.MOVIE_ID, how="left_semi"
        )
    if settings.deny is not None:
        movies = movies.join(
            listed("deny", settings.deny, tables).select(Columns.MOVIE_ID), on=Columns.MOVIE_ID, how="left_anti"
        )
    return movies


def _of_segment(movies: DataFrame, name: str, segment: SegmentSettings, tables: Mapping[str, DataFrame]) -> DataFrame:
    """The movies of a segment, from those of everybody."""
    offered = _where(movies, segment.movies, f"segments.{name}.movies")
    if segment.deny is None:
        return offered
    denied = listed(f"segments.{name}.deny", segment.deny, tables).select(Columns.MOVIE_ID)
    return offered.join(denied, on=Columns.MOVIE_ID, how="left_anti")


def listed(key: str, name: str, tables: Mapping[str, DataFrame]) -> DataFrame:
    """The rows of the table `name` of `source.tables`, which is the value of `candidates.{key}`; it has movie ids."""
    table = tables[name]
    if Columns.MOVIE_ID not in table.columns:
        raise InputError(
            f"source.tables.{name}: candidates.{key} needs a column movie_id; it has {', '.join(table.columns)}"
        )
    return table


def _where(rows: DataFrame, condition: str, key: str) -> DataFrame:
    return resolve(f"candidates.{key}", rows, lambda: rows.where(condition))


def own_tables_of(
    session: SparkSession,
    settings: CandidateSettings,
    tables: Collection[str],
    rules: RuleSettings | None = None,
) -> dict[str, str]:
    """The user's own tables that candidates and rules use, each with the dotted key of the setting that uses it first.

    tables  the names of all tables that conditions may query
    """
    used = {f"candidates.{key}": [name] for key, name in settings.lists.items()}
    texts = list(sql_texts(settings, ("candidates",)))
    if rules is not None:
        texts += sql_texts(rules, ("rules",))
    for key, condition, _ in texts:
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
        for kind, column in ID_COLUMNS.items()
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
