"""A new rule of cleaning is one line in the table of rules."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from kgspark.spark.cleaning import rating_rules
from kgspark.spark.cleaning.accounts import Accounts
from kgspark.spark.cleaning.rating_rules import RULES, Rule
from kgspark.stages import clean_ratings
from nights import a_night

# A user with a robot's number; and a rule whose condition is null, which counts as true, if the rating is a 5.
ROBOT = Rule("robot", lambda limits: F.col("user_id") >= 900)
NULL_FOR_FIVES = Rule("five", lambda limits: F.when(F.col("rating") < 5, F.lit(False)))


def test_a_rule_in_the_table_quarantines_its_lines_and_the_accounts_add_up(
    spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rating_rules, "RULES", (ROBOT, *RULES, NULL_FOR_FIVES))
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n1,T,Drama\n2,U,Drama\n")
    lines = ["1,1,4.0,5", "1,1,3.0,4", "901,1,4.0,5", "2,2,5.0,5", "2,1,4.5,5", "902,9,5.0,x", "3,9,5.0,5", "4,1,,5"]
    (tmp_path / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *lines]))
    clean = {"max_quarantined_share": 1.0}
    night = a_night(tmp_path / "lake", spark, source={"path": str(tmp_path)}, clean=clean)
    clean_ratings.run(night)

    rows = pq.read_table(night.run.table("quarantine")).to_pylist()
    # A line has the first reason that applies: to line 7 apply four, to line 8 two.
    reasons = {4: "robot", 5: "five", 7: "robot", 8: "unknown_movie", 9: "rating_not_a_number"}
    assert {row["line"]: row["reason"] for row in rows} == reasons
    ratings = pq.read_table(night.run.table("ratings")).to_pylist()
    assert sorted((row["user_id"], row["movie_id"], row["rating"]) for row in ratings) == [(1, 1, 4.0), (2, 1, 4.5)]
    accounts = Accounts(**night.run.manifest("ratings").details["accounts"]["ratings"])
    assert accounts == Accounts(lines=9, headers=1, kept=2, superseded=1, quarantined=dict(Counter(reasons.values())))
