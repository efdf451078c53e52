"""What the business rules say of each movie: the table `rules`, made from SQL over the movies."""

from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType

from kgspark.errors import ConfigError
from kgspark.graph.layout import MOVIE, EntityLayout
from kgspark.spark.graph.relations import resolve
from kgspark.spark.ranking.movie_columns import views, with_columns
from kgspark.spark.ranking.rule_settings import RuleSettings
from kgspark.tables import MOVIES, RATINGS, Columns


def movie_rules(
    settings: RuleSettings,
    tables: Mapping[str, DataFrame],
    entities: DataFrame,
    layout: EntityLayout,
    id_type: str,
    liked: str,
    null_texts: Sequence[str] = (),
) -> DataFrame:
    """One row per movie: movie_id, position, ratings, `boosts` array<double>, `groups` array<array<string>>. Lazy.

    The arrays have one entry per rule, in the order of the settings. A missing number is 0 where it is added and 1
    where it multiplies. `tables`, `null_texts` as in `build_candidates`; `liked` is a condition on the ratings.

    Raises ConfigError with the dotted key of an expression that Spark cannot resolve.
    """
    movies = with_columns(MOVIE, tables.get(MOVIES), tables[RATINGS], entities, layout, id_type, liked)
    with views(tables, id_type, null_texts):
        rows, boosts, groups = movies, [], []
        for number, (key, text, _) in enumerate(settings.boost_texts):
            rows = _with(rows, f"boost_{number}", key, text, movies)
            boosts.append(_number(rows, f"boost_{number}", key))
        for number, (name, cap) in enumerate(settings.at_most.items()):
            rows = _with(rows, f"group_{number}", f"rules.at_most.{name}.per", cap.per, movies)
            groups.append(_texts(rows, f"group_{number}"))
    return rows.select(
        *(Columns.MOVIE_ID, Columns.POSITION, RATINGS),
        _array(boosts, "array<double>").alias(Columns.BOOSTS),
        _array(groups, "array<array<string>>").alias(Columns.GROUPS),
    )


def check_boosts(settings: RuleSettings, rules: DataFrame) -> None:
    """ConfigError with the dotted key and a movie for a number that is not finite, or a factor that is not above 0."""
    texts = settings.boost_texts
    if not texts:
        return
    wrong = []
    for number, (_, _, kind) in enumerate(texts):
        value = F.col(Columns.BOOSTS)[number]
        # A boost goes into float32, whose largest number is 3.4e38.
        bad = F.isnan(value) | (F.abs(value) > 1e30) | ((value < 1e-30) if kind == "multiply" else F.lit(False))
        wrong.append(F.min(F.when(bad, F.struct(Columns.MOVIE_ID, value.alias("value")))))
    found = rules.agg(*[each.alias(f"{number}") for number, each in enumerate(wrong)]).collect()[0]
    for (key, _, kind), row in zip(texts, found, strict=True):
        if row is not None:
            expected = "a number above 0" if kind == "multiply" else "a finite number"
            raise ConfigError(f"{key}: expected {expected}, found {row['value']} for movie_id {row[Columns.MOVIE_ID]}")


def _with(rows: DataFrame, name: str, key: str, text: str, movies: DataFrame) -> DataFrame:
    """The rows with one more column, an expression over the movies."""
    resolve(key, movies, lambda: movies.select(F.expr(text)))
    return rows.withColumn(name, F.expr(text))


def _number(rows: DataFrame, name: str, key: str) -> Column:
    kind = rows.schema[name].dataType
    if not kind.typeName().startswith(("decimal", "double", "float", "integer", "long", "short", "byte", "void")):
        raise ConfigError(f"{key}: expected a number, found a value of the type {kind.simpleString()}")
    return F.coalesce(F.col(name).cast("double"), F.lit(1.0 if key.endswith("multiply") else 0.0))


def _texts(rows: DataFrame, name: str) -> Column:
    """The groups of a movie, each once; empty if there is none."""
    column = F.col(name)
    several = column if isinstance(rows.schema[name].dataType, ArrayType) else F.array(column)
    return F.array_distinct(F.array_compact(F.coalesce(several.cast("array<string>"), F.array().cast("array<string>"))))


def _array(columns: Sequence[Column], kind: str) -> Column:
    return F.array(*columns).cast(kind)
