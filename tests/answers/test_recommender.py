"""A recommender's answers beyond the published lists: parts of them, new users, and explanations that add up."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from kgspark.answers.lake import Lake
from kgspark.answers.recommender import Recommender
from kgspark.errors import InputError
from kgspark.fold_in import FoldIn
from kgspark.search_space import pairwise_scores
from kgspark.tables import RECOMMENDATIONS
from nights import DATE


@pytest.fixture(scope="module")
def recommender(small_night: Path) -> Recommender:
    return Recommender.load(Lake(small_night / "lake").latest(), "arrow")


def lists(table: pa.Table, query: str = "user_id", item: str = "movie_id") -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = {}
    for row in table.sort_by("rank").to_pylist():
        found.setdefault(row[query], []).append(row[item])
    return found


def test_a_list_is_the_published_one_in_the_order_asked_with_any_length(
    recommender: Recommender, small_night: Path
) -> None:
    published = lists(Lake(small_night / "lake").night(DATE).table(RECOMMENDATIONS).to_arrow())
    some = [int(user) for user in recommender.user_ids[[7, 3, 7]]]
    table = recommender.recommend(some, 3)
    assert table["user_id"].to_pylist() == [user for user in some for _ in range(3)]
    assert lists(recommender.recommend(some[:2], 3)) == {user: published[user][:3] for user in some}
    longer = lists(recommender.recommend(np.array(some[:1]), 1000))
    assert longer[some[0]][:5] == published[some[0]]
    assert len(longer[some[0]]) == len(recommender.item_ids) - len(recommender.history(some[0]))


def test_what_was_viewed_is_left_out_unless_it_is_asked_for(recommender: Recommender) -> None:
    user = int(recommender.user_ids[0])
    seen = set(recommender.history(user)["movie_id"].to_pylist())
    everything = lists(recommender.recommend([user], 1000, filter_viewed=False))[user]
    assert set(everything) == set(recommender.item_ids.tolist())
    assert [movie for movie in everything if movie not in seen] == lists(recommender.recommend([user], 1000))[user]


def test_only_the_given_items_are_listed_in_the_same_order(recommender: Recommender) -> None:
    user, some = int(recommender.user_ids[5]), recommender.item_ids[::2]
    whole = recommender.recommend([user], 1000)
    part = recommender.recommend([user], 1000, items_to_recommend=some)
    assert lists(part)[user] == [movie for movie in lists(whole)[user] if movie in some]
    kept = pa.compute.is_in(whole["movie_id"], value_set=pa.array(some))
    assert part["score"].equals(whole.filter(kept)["score"])
    assert part["reason_movie_id"].equals(whole.filter(kept)["reason_movie_id"])


def test_a_new_user_gets_the_list_of_fold_in(recommender: Recommender, small_night: Path) -> None:
    likes = [int(movie) for movie in recommender.item_ids[[2, 9, 4]]]
    expected = FoldIn.open(small_night / "lake" / "runs" / DATE).top(likes, k=6)
    found = recommender.fold_in([*likes, -1], 6)
    assert "user_id" not in found.column_names
    assert found["movie_id"].to_pylist() == [movie for movie, _ in expected]
    np.testing.assert_allclose(found["score"], [score for _, score in expected], rtol=1e-6)
    assert set(found["reason_movie_id"].to_pylist()) <= set(likes)
    several = recommender.fold_in({"ann": likes, "bob": likes[::-1]}, 6)
    assert lists(several)["ann"] == found["movie_id"].to_pylist()
    assert (
        recommender.fold_in(likes, 1, times=[3, 2, 1])["score"]
        == several.filter((pa.compute.field("user_id") == "bob") & (pa.compute.field("rank") == 1))["score"]
    )


def test_the_parts_of_an_explanation_are_the_score(recommender: Recommender, small_night: Path) -> None:
    space = Lake(small_night / "lake").latest().search_space
    for position in range(0, len(recommender.user_ids), 5):
        user = int(recommender.user_ids[position])
        first = recommender.recommend([user], 1).to_pylist()[0]
        explained = recommender.explain(user, first["movie_id"], nearest=3)
        movie = recommender.find_movie(first["movie_id"])
        assert explained.score == pairwise_scores(space, np.array([position]), np.array([movie]))[0]
        assert (explained.rank, explained.state, explained.divided) == (1, "offered", True)
        assert explained.liked[0].movie == first["reason_movie_id"]
        assert len(explained.liked) == 3
        shares = [like.share for like in explained.liked]
        parts = [*shares, explained.other_likes, explained.trend, explained.rest]
        assert sum(parts) == pytest.approx(explained.score, abs=1e-9)
        # Every movie of this world has the same genres, and likes of the same group are watched together.
        assert {("has_genre", "Comedy"), ("has_genre", "Drama")} <= {
            (fact.relation, fact.entity) for fact in explained.liked[0].facts
        }


def test_the_shares_tell_the_users_taste(recommender: Recommender) -> None:
    """Users like movies of their group alone, so the likes speak for an unseen movie of it more than for others."""
    user = int(recommender.user_ids[0])
    ranked = lists(recommender.recommend([user], 1000))[user]
    best, worst = (recommender.explain(user, ranked[at], nearest=100) for at in (0, -1))
    assert sum(like.share for like in best.liked) > sum(like.share for like in worst.liked) + 0.1


def test_a_seen_movie_is_explained_without_a_rank(recommender: Recommender) -> None:
    user = int(recommender.user_ids[0])
    seen = recommender.history(user)["movie_id"][0].as_py()
    explained = recommender.explain(user, seen)
    assert (explained.rank, explained.state) == (None, "seen")
    assert seen not in [like.movie for like in explained.liked]


def test_frames_are_of_the_kind_that_is_asked_for(small_night: Path) -> None:
    users = Recommender.load(small_night / "lake", "arrow").user_ids[:2]
    arrow, pandas, polars = (
        Recommender.load(small_night / "lake", kind).recommend(users) for kind in ("arrow", "pandas", "polars")
    )
    assert pandas["score"].dtype == np.float32
    assert pa.Table.from_pandas(pandas).column_names == arrow.column_names
    assert isinstance(polars, pl.DataFrame)
    assert polars["movie_id"].to_list() == pandas["movie_id"].tolist() == arrow["movie_id"].to_pylist()
    with pytest.raises(InputError, match="frames: expected one of pandas, arrow, polars, found 'spark'"):
        Recommender.load(small_night / "lake", "spark")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda r: r.recommend([-5, "x"]), f"no user -5 and 1 more in the night of {DATE}; fold_in"),
        (lambda r: r.recommend(k=0), "k: expected an integer ≥ 1, found 0"),
        (lambda r: r.recommend(items_to_recommend=[-7]), f"no movie -7 in the night of {DATE}"),
        (lambda r: r.similar_items(-7), f"no movie -7 in the night of {DATE}"),
        (lambda r: r.fold_in([-7, -8]), "fold_in: none of the 2 movies has a vector"),
        (lambda r: r.fold_in(r.item_ids[:1], segment="gold"), "no segment 'gold'; expected one of rest"),
        (lambda r: r.explain(-5, 1), "no user -5"),
        (lambda r: r.find_movie("No Such Film"), "expected an id or a title's beginning"),
        (
            lambda r: r.find_movie("film"),
            r"is the beginning of 18 titles: \d+ Film \d+, The .*; and 10 more; give an id",
        ),
    ],
)
def test_what_is_not_there_is_one_line(recommender: Recommender, ask: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        ask(recommender)


def test_a_movie_is_found_by_its_title(recommender: Recommender) -> None:
    movie = int(recommender.item_ids[4])
    title = recommender.title(movie)
    assert title is not None
    plain = title.partition(", The")[0]
    for text in (movie, str(movie), title, title.upper(), f"{plain}, the", f"The {plain}", f"The {plain} ("):
        assert recommender.find_movie(text) == 4, text
