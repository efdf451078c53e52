"""The protocol `fold-in`: users that were not trained on get lists from some of their likes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kgspark.experiments import evaluate
from kgspark.experiments.known_likes import with_known
from kgspark.graph.histories import Histories
from kgspark.night.evaluate_settings import EvaluateSettings
from kgspark.night.held_out import HeldOut
from nights import a_night

GROUPS, USERS, MOVIES = 3, 120, 36


def test_some_likes_of_each_user_are_known_and_never_all() -> None:
    sizes = np.array([10, 0, 1, 2, 40])
    test = Histories.from_sizes(sizes, np.concatenate([np.arange(size) for size in sizes]))
    train = Histories.of([[], [7], [], [], []])
    held_out = HeldOut(train, Histories.empty(5), test, movies=50)

    split = with_known(held_out, seed=1)
    assert split.known is not None
    assert split.known.sizes.tolist() == [8, 0, 0, 1, 32]
    assert split.test.sizes.tolist() == [2, 0, 0, 1, 8]  # a single like can be known or found, but not both
    both = split.known | split.test
    assert both.pick(np.array([0, 3, 4])).indices.tolist() == test.pick(np.array([0, 3, 4])).indices.tolist()
    assert split.histories.sizes.tolist() == [8, 1, 0, 1, 32]
    assert split.train is train

    other = with_known(held_out, seed=2)
    assert other.test.indices.tolist() != split.test.indices.tolist()
    assert with_known(held_out, seed=1).test.indices.tolist() == split.test.indices.tolist()


@pytest.mark.extended
def test_new_users_find_their_group_by_their_known_likes(spark: Any, tmp_path: Path) -> None:
    """User u likes the movies of group u mod 3, so a list of a new user is right only if it is made from the likes."""
    source = tmp_path / "source"
    source.mkdir()
    liked = [
        f"{user},{movie},5,{1_000 * user + movie}"
        for user in range(1, USERS + 1)
        for movie in range(1, MOVIES + 1)
        if movie % GROUPS == user % GROUPS and (movie // GROUPS + user) % 4
    ]
    (source / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *liked, ""]), encoding="utf-8")
    movies = [f"{movie},movie {movie},any" for movie in range(1, MOVIES + 1)]
    (source / "movies.csv").write_text("\n".join(["movieId,title,genres", *movies, ""]), encoding="utf-8")
    night = a_night(
        tmp_path / "lake",
        spark,
        source={"path": str(source)},
        train={"dim": 8, "epochs": 20, "temperature": 0.2, "learning_rate": 0.02},
        evaluate={"protocol": "fold-in", "ks": [2], "resamples": 0, "baselines": ["popularity", "item-knn", "ease"]},
    )
    answer = evaluate.run(night)

    data, rows = answer["data"], {row["model"]: row for row in answer["rows"]}
    assert 0 < data["test_users"] < USERS / 3
    assert data["known"] == data["test_users"] * 7  # four fifths of nine likes
    assert data["test"] == data["test_users"] * 2
    for model in ("kgspark", "item-knn", "ease"):  # two movies of the group are left, or two that no user of it has
        assert rows[model]["recall@2"] > 0.6, model
        assert rows[model]["by_history"]["cold"]["users"] == data["test_users"]
    assert rows["popularity"]["recall@2"] < 0.4


def test_a_baseline_that_cannot_fold_in_is_refused_before_any_work() -> None:
    with pytest.raises(ValueError, match=r"mllib-als cannot make lists for users .* popularity, item-knn, ease can"):
        EvaluateSettings(protocol="fold-in", baselines=("ease", "mllib-als"))
    assert EvaluateSettings(protocol="fold-in").compared == ("popularity", "item-knn", "ease")
