"""Ids of the wrong type are told by the first and last lines, before Spark starts. These tests need no Spark."""

import gzip
import json
from pathlib import Path

import pytest

from kgspark.errors import InputError
from kgspark.spark.cleaning.settings import SourceSettings
from kgspark.spark.cleaning.source.dialects import find_source
from kgspark.spark.cleaning.source.first_ids import check_first_ids
from nights import BUNDLED

HEADER = "member,film,rating,timestamp\n"


def check(path: Path, **settings: object) -> None:
    columns = {"user": "member", "movie": "film"}
    source = SourceSettings(path=str(path), format="table", columns=columns, **settings)
    check_first_ids(source, find_source(source))


def csv(path: Path, users: list[str], header: str = HEADER) -> Path:
    path.write_text(header + "".join(f'{user},"1",4,964982703\n' for user in users), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("users", "says"),
    [
        (["u1", "u2"], "source.columns.user: member is an integer by source.ids, and 'u1' is no whole number"),
        (["007", "008"], "'007' begins with a zero: set source.ids=string"),
        (["1.5", "2.5"], "'1.5' is no whole number"),
    ],
)
def test_text_ids_are_told_with_the_key(tmp_path: Path, users: list[str], says: str) -> None:
    with pytest.raises(InputError, match=r"r\.csv:2: ") as told:
        check(csv(tmp_path / "r.csv", users))
    assert says in str(told.value)
    check(csv(tmp_path / "r.csv", users), ids="string")


@pytest.mark.parametrize("users", [["1", "2"], ["1.0", "2.0"], ["", "NULL"], ["-1", "5"], ["1", "2", "x"]])
def test_integers_gaps_and_single_bad_lines_pass(tmp_path: Path, users: list[str]) -> None:
    check(csv(tmp_path / "r.csv", users))


def test_a_bad_beginning_of_a_good_file_passes(tmp_path: Path) -> None:
    check(csv(tmp_path / "r.csv", ["x"] * 2_000 + ["1"] * 20_000))


def test_json_lines_gzip_and_files_without_a_header(tmp_path: Path) -> None:
    lines = [json.dumps({"member": f"u{n}", "film": n, "rating": 4, "timestamp": 1}) + "\n" for n in range(3)]
    (tmp_path / "r.jsonl").write_text("".join(lines), encoding="utf-8")
    (tmp_path / "r.csv.gz").write_bytes(gzip.compress(f"{HEADER}u1,1,4,1\n".encode()))
    csv(tmp_path / "none.csv", ["u1"], header="")
    for name in ("r.jsonl", "r.csv.gz"):
        with pytest.raises(InputError, match=r"'u[01]' is no whole number"):
            check(tmp_path / name)
    with pytest.raises(InputError, match=r"none\.csv:1: "):
        check(tmp_path / "none.csv", header=["member", "film", "rating", "timestamp"])


def test_movielens_is_left_to_cleaning() -> None:
    source = SourceSettings(path=str(BUNDLED))
    check_first_ids(source, find_source(source))
