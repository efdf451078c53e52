"""Counts per list of what breaks a business rule, from the tables that the night wrote about its rules."""

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from kgspark.graph.layout import MOVIE, EntityLayout
from kgspark.spark.graph.entities import position_of
from kgspark.spark.ranking.candidates import Candidates
from kgspark.tables import EXPLORED, PINNED, RATINGS, Columns


@dataclass(frozen=True)
class RuleFacts:
    """The business rules that recommendations must obey.

    movies    the table `rules`; None if no rule looks at movies
    at_most   of each rule about groups: the most rows of one group
    pins      True if movies are pinned
    draws     the most rows of a list with drawn movies; 0 for none
    few       the most ratings of a drawn movie
    by_score  True if the rows that no rule places are in the order of their scores
    """

    movies: DataFrame | None = None
    at_most: tuple[int, ...] = ()
    pins: bool = False
    draws: int = 0
    few: int = 0
    by_score: bool = True

    @property
    def features(self) -> set[str]:
        """The names by which checks say that they need a rule."""
        active = {"at_most": bool(self.at_most), "pinned": self.pins, "explore": self.draws > 0}
        return {name for name, is_active in active.items() if is_active}


def rule_counts(
    number: int, k: int, listed: DataFrame, rules: RuleFacts, seen: DataFrame, candidates: Candidates | None
) -> list[DataFrame]:
    """Frames with number, query and any of `placed`, `over_cap`, `misplaced` and `badly_drawn` of `counts.COUNTS`.

    number  that of the recommendations, of lists of `k`
    listed  see `counts.listed_rows`, with the column `placed`
    seen    the pairs that were seen
    """
    rows = listed.where(F.col("number") == number)
    frames = [rows.groupBy("number", "query").agg(F.count("placed").alias("placed"))]
    if rules.movies is not None:
        of_movies = rules.movies.select(Columns.MOVIE_ID, RATINGS, Columns.GROUPS)
        about = rows.join(of_movies, on=Columns.MOVIE_ID, how="inner")
        frames += [_over_caps(about, rules.at_most)] if rules.at_most else []
        frames += [_badly_drawn(about, rules)] if rules.draws else []
    if rules.pins and candidates is not None:
        frames += [_misplaced(number, k, rows, seen, candidates)]
    return frames


def _over_caps(about: DataFrame, at_most: Sequence[int]) -> DataFrame:
    """Per list: groups with too many rows. Pinned rows count, but alone they break nothing."""
    of_rules = about.select("number", "query", "placed", F.posexplode(Columns.GROUPS).alias("rule", "texts"))
    of_groups = of_rules.withColumn("text", F.explode("texts")).groupBy("number", "query", "rule", "text")
    is_free = F.col("placed").isNull() | (F.col("placed") != PINNED)
    counted = of_groups.agg(F.count("*").alias("rows"), F.count_if(is_free).alias("free"))
    limit = _literals(at_most)[F.col("rule")]
    over = F.count_if((F.col("rows") > limit) & (F.col("free") > 0))
    return counted.groupBy("number", "query").agg(over.alias("over_cap"))


def _badly_drawn(about: DataFrame, rules: RuleFacts) -> DataFrame:
    """Per list: drawn movies with too many ratings, and drawn rows beyond their share."""
    drawn = about.where(F.col("placed") == EXPLORED).groupBy("number", "query")
    beyond = F.greatest(F.count("*") - F.lit(rules.draws), F.lit(0))
    return drawn.agg((F.count_if(F.col(RATINGS) > rules.few) + beyond).alias("badly_drawn"))


def _misplaced(number: int, k: int, rows: DataFrame, seen: DataFrame, candidates: Candidates) -> DataFrame:
    """Per user: pinned movies that do not have their rank, and rows that pretend to be pinned."""
    users = candidates.segments.select(Columns.USER_ID, Columns.SEGMENT)
    places = candidates.movies.where(F.col(Columns.PLACE).isNotNull())
    pinned = users.join(F.broadcast(places.drop(Columns.POSITION)), on=Columns.SEGMENT, how="inner")
    pairs = [Columns.USER_ID, Columns.MOVIE_ID]
    unseen = pinned.join(seen.select(*pairs), on=pairs, how="left_anti")
    rank = F.row_number().over(Window.partitionBy(Columns.USER_ID).orderBy(Columns.PLACE))
    due = unseen.select(F.lit(number).alias("number"), *pairs, rank.alias(Columns.RANK), F.lit(1).alias("sign"))
    found = rows.where(F.col("placed") == PINNED).select("number", *pairs, Columns.RANK, F.lit(-1).alias("sign"))
    both = due.where(F.col(Columns.RANK) <= k).unionByName(found).groupBy("number", *pairs, Columns.RANK)
    wrong = both.agg(F.sum("sign").alias("sign")).where(F.col("sign") != 0)
    return wrong.groupBy("number", F.col(Columns.USER_ID).alias("query")).agg(F.count("*").alias("misplaced"))


def _literals(values: Sequence[int]) -> Column:
    return F.array(*map(F.lit, values))


def fact_counts(
    listed: DataFrame, facts: DataFrame, entities: DataFrame, id_type: str, layout: EntityLayout
) -> DataFrame:
    """Per list: rows whose reason has a fact (`facts`), and those whose fact both movies have (`shared_facts`).

    facts  those about the movies: position, name of the relation, external_id of the entity
    """
    known = position_of(entities, layout, MOVIE, id_type)
    of_movies = known.join(facts, on=Columns.POSITION, how="inner").select(
        Columns.MOVIE_ID,
        F.col("name").alias(Columns.REASON_RELATION),
        F.col(Columns.EXTERNAL_ID).alias(Columns.REASON_ENTITY),
    )
    fact = [Columns.REASON_RELATION, Columns.REASON_ENTITY]
    has_any = F.coalesce(*fact).isNotNull()
    rows = listed.where(has_any).select("number", "query", Columns.MOVIE_ID, "reason", *fact)
    of_both = rows.join(of_movies, on=[Columns.MOVIE_ID, *fact], how="left_semi")
    of_both = of_both.join(
        of_movies.withColumnRenamed(Columns.MOVIE_ID, "reason"), on=["reason", *fact], how="left_semi"
    )
    names = ("number", "query")
    given = rows.groupBy(*names).agg(F.count("*").alias("facts"))
    return given.unionByName(of_both.groupBy(*names).agg(F.count("*").alias("shared_facts")), allowMissingColumns=True)
