"""The table of audit checks. To add one, add a line: its rule, and SQL that finds what breaks it. Needs no Spark."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from kgspark.tables import (
    AUDIENCES,
    LEARNED,
    PUBLISHABLE,
    RANKED,
    RECOMMENDATIONS,
    ROW_SOURCES,
    SIMILAR_ITEMS,
    SOURCES,
    VECTORS,
    Columns,
)

Severity = Literal["block", "warn", "off"]


def _texts(values: Iterable[str]) -> str:
    return ", ".join(f"'{value}'" for value in values)


@dataclass(frozen=True)
class Check:
    """One check of a published table. The SQL of the first four levels is a condition, true for what breaks the rule.

    name      its key in `audit.checks`
    rule      what holds in a good table, as a sentence without a period; `Names.fill` completes it, and `unit`
    column    the column that it looks at, by our name; empty if there are several
    of        row: the SQL sees the columns of a row, ds and model_id of the night as `night` and `night_model`, and
              the length of vectors as `dimension`
              step: it sees a row with the one before it in its list: rank, score, popular (0 for a row of a vector, 1
              for a popular movie of the segment, 2 of all users), previous_rank (0 at the start of a list),
              previous_score and previous_popular (null there), known_item (false if the item is no entity of the
              ranked kind)
              item: it sees one item of a list: listed (rows with that item)
              query: it sees the counts of a list, see `lists.COUNTS`; those of a vector are `known_query`, `listed` and
              `due`, as if it were a list of one row
              table: it is an aggregate over the lists, and gives the value itself
              measured: there is no SQL; Python computes the value
    sql       see `of`
    severity, bound  the defaults
    unit      what the value counts: up to `query`, the lists that break the rule
    limit     the bound is the largest or the smallest good value
    example   of a table check: an aggregate over the lists that gives a text for people
    tables    the tables that it applies to
    restricted_only  True if it applies only when candidates are restricted
    only_with  the rule that it is about (see `rules.RuleFacts.features`); empty for all nights
    """

    name: str
    rule: str
    column: str
    of: Literal["row", "step", "item", "query", "table", "measured"]
    sql: str = ""
    severity: Severity = "block"
    bound: float = 0.0
    unit: str = "of the lists"
    limit: Literal["at most", "at least"] = "at most"
    example: str = ""
    tables: tuple[str, ...] = RANKED
    restricted_only: bool = False
    only_with: str = ""


CHECKS = (
    Check("not_offered", "only what is offered", "", "query", "not_offered > 0", restricted_only=True),
    Check("incomplete", "every id has its rows", "", "query", "known_query > 0 AND listed != due", tables=PUBLISHABLE),
    Check("unknown_id", "no rows of an unknown id", "", "query", "known_query = 0 AND listed > 0", tables=PUBLISHABLE),
    Check(
        "ranks",
        "ranks run from 1 without gap",
        Columns.RANK,
        "step",
        "rank IS NULL OR rank != previous_rank + 1",
    ),
    Check("repeated_item", "no item twice", "", "item", "listed > 1"),
    Check("seen_item", "no seen item, and no {movie} that is similar to itself", "", "query", "seen > 0"),
    Check("unknown_item", "items are known", "", "step", "NOT known_item"),
    Check(
        "not_finite",
        "scores are finite",
        Columns.SCORE,
        "row",
        "score IS NULL OR isnan(score) OR abs(score) = double('infinity')",
    ),
    Check(
        "score_order",
        "scores do not increase",
        Columns.SCORE,
        "step",
        "score > previous_score",
    ),
    Check("ds", "ds is the night's", Columns.DS, "row", "NOT (ds <=> night)", tables=PUBLISHABLE),
    Check(
        "model_id",
        "model_id is the night's",
        Columns.MODEL_ID,
        "row",
        "NOT (model_id <=> night_model)",
        tables=PUBLISHABLE,
    ),
    Check(
        "source",
        "sources are known",
        Columns.SOURCE,
        "row",
        f"source IS NULL OR source NOT IN ({_texts(ROW_SOURCES)})",
    ),
    Check(
        "vector_source",
        "sources of vectors are known",
        Columns.SOURCE,
        "row",
        f"source IS NULL OR source NOT IN ({_texts(SOURCES)})",
        unit="of the vectors",
        tables=VECTORS,
    ),
    Check(
        "vector_values",
        "vectors have finite numbers, all of them equally many",
        Columns.VECTOR,
        "row",
        "vector IS NULL OR size(vector) != dimension OR "
        "exists(vector, x -> x IS NULL OR isnan(x) OR abs(x) = double('infinity'))",
        unit="of the vectors",
        tables=VECTORS,
    ),
    Check(
        "vector_scores",
        "scores of recommendations follow from the vectors, for a sample",
        Columns.VECTOR,
        "measured",
        unit="of the compared rows have another score",
        tables=VECTORS,
    ),
    Check(
        "source_order",
        "popular {movies} come after those that vectors rank",
        Columns.SOURCE,
        "step",
        "popular < previous_popular",
        tables=(RECOMMENDATIONS,),
    ),
    Check(
        "reason",
        "reasons are liked {movies}, and null only for a {user} without one and for popular {movies}",
        Columns.REASON,
        "query",
        "reasons != liked_reasons OR (reasons < listed - popular - placed AND likes > 0)",
        tables=(RECOMMENDATIONS,),
    ),
    Check(
        "at_most",
        "no group has more rows of a list than rules.at_most allows",
        Columns.MOVIE_ID,
        "query",
        "over_cap > 0",
        tables=(RECOMMENDATIONS,),
        only_with="at_most",
    ),
    Check(
        "pinned",
        "pinned {movies} that the {user} has not seen come first, in their order",
        Columns.RANK,
        "query",
        "misplaced > 0",
        tables=(RECOMMENDATIONS,),
        only_with="pinned",
    ),
    Check(
        "explored",
        "drawn {movies} have few ratings, and no more rows than their share",
        Columns.MOVIE_ID,
        "query",
        "badly_drawn > 0",
        tables=(RECOMMENDATIONS,),
        only_with="explore",
    ),
    Check(
        "reason_fact",
        "facts of reasons are those of both {movies}",
        Columns.REASON_ENTITY,
        "query",
        "facts != shared_facts",
        tables=(RECOMMENDATIONS,),
        only_with="reason_facts",
    ),
    Check(
        "row_count",
        "row count as expected",
        "",
        "table",
        "abs(sum(due) - sum(listed))",
        unit="rows too many or too few",
        example="format_string('%,d rows, %,d expected', sum(listed), sum(due))",
        tables=PUBLISHABLE,
    ),
    Check(
        "constant_lists",
        "the scores of a list differ",
        Columns.SCORE,
        "table",
        "try_divide(sum(constant), count_if(listed > 1))",
        bound=0.01,
        unit="of the lists have one score only",
        example="format_string('%,d of %,d lists', sum(constant), count_if(listed > 1))",
    ),
    Check(
        "model_scores",
        "scores are the model's own, computed again from its file for a sample",
        Columns.SCORE,
        "measured",
        unit="of the compared rows",
    ),
    Check(
        "top_k",
        "lists have the best {movies} that may be listed, by the model's own scores of all {movies}",
        Columns.MOVIE_ID,
        "measured",
        unit="{movies} are better than the last one of a list that lacks them",
        tables=(RECOMMENDATIONS, SIMILAR_ITEMS),
    ),
    Check(
        "fallback_rows",
        f"most rows have the source {LEARNED}",
        Columns.SOURCE,
        "table",
        "try_divide(sum(fallback), sum(listed))",
        severity="warn",
        bound=0.5,
        unit="of the rows have another source",
        example="format_string('%,d of %,d rows', sum(fallback), sum(listed))",
    ),
    Check(
        "coverage",
        "lists show enough of the catalogue",
        Columns.MOVIE_ID,
        "measured",
        severity="warn",
        bound=0.01,
        unit="of the offered {movies} are in a list",
        limit="at least",
        tables=(RECOMMENDATIONS,),
    ),
    Check(
        "concentration",
        "no few {users} lead the audiences",
        Columns.USER_ID,
        "measured",
        severity="warn",
        bound=0.75,
        unit="of the audiences are led by the most frequent 1 % of the {users}",
        tables=(AUDIENCES,),
    ),
    Check(
        "list_churn",
        "lists change slowly",
        "",
        "table",
        "avg(CASE WHEN before > 0 AND listed > 0 THEN 1 - kept / listed END)",
        severity="warn",
        bound=0.6,
        unit="of a list is new since the last published night, in the mean",
        example="format_string('%,d lists compared', count_if(before > 0 AND listed > 0))",
    ),
    Check(
        "id_churn",
        "ids change slowly",
        "",
        "table",
        "try_divide(count_if((listed > 0) != (before > 0)), count_if(before > 0))",
        severity="warn",
        bound=0.1,
        unit="of the ids are gone or new since the last published night",
        example="format_string('%,d gone, %,d new', count_if(listed = 0 AND before > 0), "
        "count_if(listed > 0 AND before = 0))",
    ),
)


def check_named(name: str) -> Check:
    """The check of that name."""
    return next(check for check in CHECKS if check.name == name)
