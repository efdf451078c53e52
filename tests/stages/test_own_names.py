"""A night with a team's own names, from the view of readers of its tables and lines."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from answered import assert_answers_are_the_tables
from kgspark.bench.lists.night_lists import compare_night
from kgspark.errors import AuditError, ConfigError, InputError
from kgspark.night.checks.audit import audit_night
from kgspark.night.night import Night
from kgspark.stages import nightly, publish
from kgspark.tools import explain, show, similar
from nights import DATE, a_small_night

NAMES = {"user": "customer", "movie": "sku", "movie_id": "sku", "genre": "category", "genres": "categories"}
# The published columns of each table, by kgspark's.
COLUMNS = {"user_id": "customer_id", "movie_id": "sku", "reason_movie_id": "reason_sku"}
OWN = {"no_such": {"where": "customer_id < 0 OR sku < 0 OR reason_sku = sku"}}


@pytest.fixture(scope="module")
def named(spark: Any, small_night: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The small night ranked and published again under other names: its lake, and what it said."""
    lake = tmp_path_factory.mktemp("own-names") / "lake"
    shutil.copytree(small_night / "lake", lake)
    said: list[str] = []
    nightly.run(_night(small_night, lake, spark, said))
    return lake, said


def _night(small_night: Path, lake: Path, spark: Any, said: list[str], **changes: Any) -> Night:
    sections = {"names": NAMES, "audit": {"own": OWN}} | changes
    return a_small_night(small_night / "source", lake, spark, said.append, **sections)


def _published(lake: Path, table: str) -> Any:
    return pq.read_table(lake / "warehouse" / table / f"ds={DATE}", partitioning=None)


@pytest.mark.parametrize("table", ["recommendations", "audiences"])
def test_published_tables_differ_by_their_column_names_alone(named: Any, small_night: Path, table: str) -> None:
    ours, own = _published(small_night / "lake", table), _published(named[0], table)
    assert own.column_names == [COLUMNS.get(name, name) for name in ours.column_names]
    assert own.rename_columns(ours.column_names).equals(ours)


def test_a_recommender_answers_in_own_names(named: Any) -> None:
    assert_answers_are_the_tables(named[0])


def test_pages_have_the_own_names(named: Any, small_night: Path, spark: Any) -> None:
    said: list[str] = []
    night = _night(small_night, named[0], spark, said)
    row = _published(named[0], "recommendations").to_pylist()[0]
    user = str(row["customer_id"])
    page, reason = show.run(night, [user]), explain.run(night, [user])
    alike = similar.run(night, [str(row["sku"])])
    assert page["customer_id"] == reason["user"] == row["customer_id"]
    assert (page["list"][0]["sku"], page["list"][0]["reason_sku"]) == (row["sku"], row["reason_sku"])
    assert set(page["history"][0]) == {"sku", "title", "rating", "timestamp"}
    assert alike["sku"] == reason["movie"] == row["sku"]
    assert f"customer {user}" in said
    assert not re.search(r"\b(user|movie)s?\b", "\n".join(said))
    with pytest.raises(InputError, match="no customer 0 in the night of"):
        show.run(night, ["0"])


def test_the_night_says_its_own_words(named: Any) -> None:
    """Only names of tables, keys and files may have ours: rows of `ratings`, the path of a table."""
    text = "\n".join(named[1])
    assert "entities: 36 customer, 18 sku, 2 category" in text
    assert re.search(r"^customer \d+$", text, re.MULTILINE)
    assert not re.search(r"\b(user|movie|genre)s?\b", text), text


def test_findings_have_the_own_names(named: Any) -> None:
    lines = [json.loads(line) for line in (named[0] / f"runs/{DATE}/published/audit.jsonl").read_text().splitlines()]
    found = {(line["check"], line["table"]): line for line in lines}
    assert found["coverage", "recommendations"]["column"] == "sku"
    assert found["coverage", "recommendations"]["unit"] == "of the offered skus are in a list"
    assert found["reason", "recommendations"]["column"] == "reason_sku"
    assert found["model_scores", "recommendations"]["example"].endswith("of 36 customers compared")
    assert found["no_such", "recommendations"]["status"] == "passed"
    texts = [line[part] for line in lines if line["check"] != "no_such" for part in ("rule", "unit", "example")]
    assert not re.search(r"user|movie|genre", "\n".join(texts))


def test_the_lists_are_compared_with_all_scores(named: Any) -> None:
    assert [(row["table"], row["lists"], row["wrong"]) for row in compare_night(named[0] / "runs" / DATE)] == [
        ("recommendations", 36, 0), ("audiences", 18, 0)
    ]  # fmt: skip


def test_lists_are_compared_with_earlier_ones_of_the_same_names(
    spark: Any, small_night: Path, named: Any, tmp_path: Path
) -> None:
    lake = tmp_path / "lake"
    shutil.copytree(named[0], lake)
    for table, of in (("recommendations", lake), ("audiences", small_night / "lake")):
        shutil.copytree(of / "warehouse" / table / f"ds={DATE}", lake / "warehouse" / table / "ds=2026-01-01")
    found = audit_night(_night(small_night, lake, spark, []), ["recommendations", "audiences"])
    churn = {finding.table: finding for finding in found if finding.check == "list_churn"}
    assert (churn["recommendations"].value, churn["recommendations"].example) == (0.0, "36 lists compared")
    assert churn["audiences"].status == "not measured"


def test_a_broken_rule_names_the_own_columns(spark: Any, small_night: Path, named: Any, tmp_path: Path) -> None:
    shutil.copytree(named[0], tmp_path / "lake")
    wrong = {"own": {"none": {"where": "sku > 0"}}}
    with pytest.raises(AuditError, match=r"'no row with sku > 0' \(none\)"):
        publish.run(_night(small_night, tmp_path / "lake", spark, [], audit=wrong))
    ours = {"own": {"none": {"where": "movie_id > 0"}}}
    with pytest.raises(ConfigError, match=r"audit\.own\.none\.where.*movie_id.*sku"):
        publish.run(_night(small_night, tmp_path / "lake", spark, [], audit=ours))
