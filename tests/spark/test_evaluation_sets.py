from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kgspark.errors import InputError
from kgspark.spark.evaluation_sets import find_core, named_by, read_split_files, without_cold


def _brute_core(pairs: pd.DataFrame, least: int) -> pd.DataFrame:
    while True:
        users, movies = (pairs.groupby(key)[key].transform("size") for key in ("user_id", "movie_id"))
        kept = pairs[(users >= least) & (movies >= least)]
        if len(kept) == len(pairs):
            return kept
        pairs = kept


@pytest.mark.parametrize("least", [1, 3, 4, 30])
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
