"""The stages read the user's own tables with care, and tell what was lost."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgspark.errors import ConfigError, InputError
from kgspark.night.night import Night
from kgspark.stages import clean_ratings, index_entities, write_triples
from nights import a_night

DIRECTED = {
    "table": "facts",
    "head": {"kind": "movie", "column": "movieId"},
    "tail": {"kind": "director", "column": "value"},
}


def write_ratings(folder: Path) -> Path:
    """Ratings of users 1 to 5 and movies 1 to 9, without a movie table."""
    pairs = [(user, movie) for user in range(1, 6) for movie in range(1, 10) if (user + movie) % 3]
    lines = [f"{user},{movie},4.0,{1_600_000_000 + 10 * user + movie}" for user, movie in pairs]
    path = folder / "ratings.csv"
    path.write_text("\n".join(["user_id,movie_id,rating,timestamp", *lines, ""]))
    return path


def night(spark: Any, folder: Path, said: list[str], **sections: Any) -> Night:
    source = {"path": str(write_ratings(folder)), "format": "table", **sections.pop("source", {})}
    return a_night(folder / "lake", spark, said.append, source=source, split={"protocol": "none"}, **sections)


def run(of: Night) -> None:
    for stage in (clean_ratings, index_entities, write_triples):
        stage.run(of)


def triples(of: Night, relation: str) -> list[tuple[str, str]]:
    """Heads and tails of a relation as external ids."""
    entities = pq.read_table(of.run.table("entities")).to_pandas().set_index("index")["external_id"]
    names = [row["name"] for row in of.run.manifest("triples").details["relations"]]
    table = pq.read_table(of.run.table("triples")).to_pandas()
    own = table[table["relation"] == names.index(relation)]
    return sorted(zip(entities[own["head"]], entities[own["tail"]], strict=True))


def test_facts_are_read_like_ratings_and_what_is_lost_is_told(spark: Any, tmp_path: Path) -> None:
    """Also: a night on likes alone needs no movie table."""
    rows = ["movieId,value", '7,"Dir ""the 3"" X, Jr"', "1.0,Director 1", "2,Director 1 ", " 3 ,Director 1"]
    rows += ["tt1,Ann", "99,Bob", ",Ann", "7,Doe, Ann"]
    (tmp_path / "facts.csv").write_text("\n".join(rows))
    pq.write_table(pa.table({"user_id": [1.0, 77.0], "plan": ["free ", "paid"]}), tmp_path / "customers.parquet")
    tables = {
        "facts": {"path": str(tmp_path / "facts.csv")},
        "customers": {"path": str(tmp_path / "customers.parquet"), "format": "parquet"},
    }
    relations = {"directed_by": DIRECTED, "has_plan": {"table": "customers", "head": "user", "tail": "plan"}}
    said: list[str] = []
    loose = {"max_quarantined_share": 0.5}
    of = night(spark, tmp_path, said, source={"tables": tables}, relations=relations, clean=loose)
    run(of)
    assert triples(of, "directed_by") == [
        ("1", "Director 1"), ("2", "Director 1"), ("3", "Director 1"), ("7", 'Dir "the 3" X, Jr'),
    ]  # fmt: skip
    assert triples(of, "has_plan") == [("1", "free")]
    assert [line.strip() for line in said[1:4]] == [
        "no table movies, so the graph lacks has_genre, released_in",
        "no table users, so the graph lacks has_gender, has_age, has_occupation",
        "no table tags, so the graph lacks tagged",
    ]
    assert said[4].endswith("; facts: 1 of 8 lines refused (1 wrong_field_count; the first is facts.csv:9)")
    assert said[5].endswith(
        "; no triple of watched"
        "; relations.directed_by.head: 3 of 7 rows of facts name no movie, such as '99'"
        "; relations.has_plan.head: 1 of 2 rows of customers name no user, such as '77'"
    )
    strict = night(spark, tmp_path, said, source={"tables": tables}, relations=relations)
    with pytest.raises(
        InputError, match=r"source\.tables\.facts: 1 of 8 lines refused .*; that is 12\.50%, and clean\."
    ):
        run(strict)
    facts = tables["facts"] | {"stop_at_unknown_share": 0.4}
    of = night(spark, tmp_path, said, source={"tables": tables | {"facts": facts}}, relations=relations, clean=loose)
    with pytest.raises(
        InputError, match=r"3 of 7 rows of facts name no movie, such as '99'; .*\.stop_at_unknown_share \(now"
    ):
        run(of)


def test_a_relation_of_ones_own_whose_table_is_not_there_says_what_to_set(spark: Any, tmp_path: Path) -> None:
    of = night(spark, tmp_path, [], relations={"has_genre": {"table": "movies", "head": "movie", "tail": "genres"}})
    with pytest.raises(
        ConfigError, match=r"no table 'movies' in this data; .*; set relations\.has_genre=null to remove"
    ):
        run(of)


@pytest.mark.parametrize(
    ("candidates", "says"),
    [
        ({"deny": "facts"}, r"candidates\.deny: 2 of 2 rows of facts name no movie, such as 'tt1'; correct its ids"),
        ({"where": "nme = 1"}, r"candidates\.where: .* `nme` cannot be resolved"),
    ],
)
def test_candidates_are_checked_before_the_training(spark: Any, tmp_path: Path, candidates: Any, says: str) -> None:
    (tmp_path / "facts.csv").write_text("movie_id\ntt1\ntt2\n")
    tables = {"facts": {"path": str(tmp_path / "facts.csv")}}
    with pytest.raises((ConfigError, InputError), match=says):
        run(night(spark, tmp_path, [], source={"tables": tables}, candidates=candidates))
