from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kgspark.errors import InputError
from kgspark.spark.evaluation_sets import find_core, named_by, read_sequences, read_split_files, without_cold


def _brute_core(pairs: pd.DataFrame, least: int) -> pd.DataFrame:
    while True:
        users, movies = (pairs.groupby(key)[key].transform("size") for key in ("user_id", "movie_id"))
        kept = pairs[(users >= least) & (movies >= least)]
        if len(kept) == len(pairs):
            return kept
        pairs = kept


@pytest.mark.parametrize("least", [3, 30, *[pytest.param(least, marks=pytest.mark.extended) for least in (1, 4)]])
def test_the_core_is_what_is_left_when_nothing_more_falls_out(spark: Any, least: int) -> None:
    rng = np.random.default_rng(8)
    pairs = pd.DataFrame({"user_id": rng.zipf(1.5, 500) % 80, "movie_id": rng.zipf(1.4, 500) % 60}).drop_duplicates()
    expected = _brute_core(pairs, least)
    found = find_core(spark.createDataFrame(pairs), least).toPandas()
    assert set(map(tuple, found.to_numpy())) == set(map(tuple, expected.to_numpy()))
    assert len(found) == len(expected)
    if least == 3:
        assert 0 < len(expected) < len(pairs[pairs.groupby("user_id")["user_id"].transform("size") >= 3])


def test_test_rows_of_unknown_users_and_movies_are_left_out(spark: Any) -> None:
    rows = [(1, 10, "train"), (2, 20, "valid"), (1, 20, "test"), (3, 10, "test"), (2, 30, "test"), (2, 10, "test")]
    found = without_cold(spark.createDataFrame(rows, "user_id int, movie_id int, split string")).collect()
    assert {tuple(row) for row in found} == {rows[0], rows[1], rows[2], rows[5]}


def test_side_tables_keep_what_ratings_name(spark: Any) -> None:
    movies = spark.createDataFrame([(1, "a"), (2, "b"), (3, "c")], "movie_id int, title string")
    ratings = spark.createDataFrame([(9, 3), (8, 3), (9, 1)], "user_id int, movie_id int")
    assert sorted(row["title"] for row in named_by(movies, ratings, "movie_id").collect()) == ["a", "c"]


def _files(folder: Path, train: str, test: str) -> tuple[Path, Path]:
    paths = folder / "train.txt", folder / "test.txt"
    for path, text in zip(paths, (train, test), strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


def test_exchange_files_keep_every_pair_once_and_train_wins(spark: Any, tmp_path: Path) -> None:
    ratings, ids = read_split_files(spark, *_files(tmp_path, "0 5 7 5\n1 7\n\n 2\t9 \n", "0 8 7\n3 5\n4\n"))
    assert ids == "bigint"
    found = {(row["user_id"], row["movie_id"], row["split"]) for row in ratings.collect()}
    assert found == {(0, 5, "train"), (0, 7, "train"), (1, 7, "train"), (2, 9, "train"), (0, 8, "test"), (3, 5, "test")}


def test_ids_of_exchange_files_that_are_no_numbers_stay_text(spark: Any, tmp_path: Path) -> None:
    ratings, ids = read_split_files(spark, *_files(tmp_path, "0 5\n1 a7", "0 05"))
    assert ids == "string"
    assert {row["movie_id"] for row in ratings.collect()} == {"5", "a7", "05"}


@pytest.mark.parametrize(("name", "reason"), [("absent.txt", "no such file"), ("empty.txt", "no line names a user")])
def test_exchange_files_that_cannot_be_used(spark: Any, tmp_path: Path, name: str, reason: str) -> None:
    train, _ = _files(tmp_path, "1 2", "1 3")
    (tmp_path / "empty.txt").write_text("\n7\n", encoding="utf-8")
    with pytest.raises(InputError, match=f"{name}: {reason}"):
        read_split_files(spark, train, tmp_path / name)


def test_ids_of_exchange_files_must_be_of_the_type_that_is_given(spark: Any, tmp_path: Path) -> None:
    train, test = _files(tmp_path, "0 5", "0 6\n\n1 a7")
    with pytest.raises(InputError, match=r"test\.txt:3: the line has an id that is no whole number"):
        read_split_files(spark, train, test, "bigint")
    ratings, ids = read_split_files(spark, train, train, "string")
    assert ids == "string"
    assert [tuple(row) for row in ratings.collect()] == [("0", "5", None, None, "train")]


def _sequences(folder: Path, text: str | bytes) -> Path:
    path = folder / "sequences.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_places_of_a_sequence_are_its_times_and_an_item_counts_once_at_the_later_one(
    spark: Any, tmp_path: Path
) -> None:
    text = "7 30 10 20\r\n\n \t8\t10  40 10\n" + "9 " + " ".join(map(str, range(100, 112)))
    ratings, ids = read_sequences(spark, _sequences(tmp_path, text))
    assert ids == "bigint"
    assert ratings.dtypes == [
        ("user_id", "bigint"),
        ("movie_id", "bigint"),
        ("rating", "double"),
        ("timestamp", "bigint"),
    ]
    found = {(row["user_id"], row["movie_id"]): row["timestamp"] for row in ratings.collect()}
    expected = {(7, 30): 1, (7, 10): 2, (7, 20): 3, (8, 40): 2, (8, 10): 3}
    assert found == expected | {(9, 100 + place): place + 1 for place in range(12)}


@pytest.mark.parametrize(("text", "id_type"), [("1 5 a7", None), ("1 05", None), ("1 5", "string")])
def test_ids_of_sequences_stay_text_if_one_is_no_number_or_the_source_has_text(
    spark: Any, tmp_path: Path, text: str, id_type: str | None
) -> None:
    ratings, ids = read_sequences(spark, _sequences(tmp_path, text), id_type)
    assert ids == "string"
    assert {row["movie_id"] for row in ratings.collect()} == set(text.split()[1:])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("\n7\n", "no line names a user and an item"),
        ("1 2 3\n\n4\n5 6\n7\n", r":3: the line has no item; expected `user item item \.\.\.`"),
        ("1 2 3\n4 5\n 1 6\n4 7\n", r":3: the line is of a user with an earlier line; write all items"),
        ("1 2 3\n4 a5\n", r":2: the line has an id that is no whole number, .* set evaluate\.ids=own"),
        (b"1 2 3\n\n4 5\xff\n", r":3: the line is no text in utf-8; save the file in utf-8"),
    ],
)
def test_a_sequence_that_cannot_be_used_is_named_with_its_line(
    spark: Any, tmp_path: Path, text: str | bytes, problem: str
) -> None:
    with pytest.raises(InputError, match=f"sequences.txt{problem}" if problem[0] == ":" else problem):
        read_sequences(spark, _sequences(tmp_path, text), "bigint")


def test_lines_are_counted_over_the_parts_of_a_file(spark: Any, tmp_path: Path) -> None:
    lines = [f"{user} {'1 ' * (user % 50)}2" for user in range(3000)]
    lines[2345] = "2345"
    limit = spark.conf.get("spark.sql.files.maxPartitionBytes")
    spark.conf.set("spark.sql.files.maxPartitionBytes", "10000")
    try:
        with pytest.raises(InputError, match=r"sequences\.txt:2346: the line has no item"):
            read_sequences(spark, _sequences(tmp_path, "\n".join(lines)))
    finally:
        spark.conf.set("spark.sql.files.maxPartitionBytes", limit)
