"""A fit on frames gives the lists of a night: of the small world here, and of the bundled data in test-extended."""

from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import kgspark
from kgspark.answers.recommender import Recommender
from kgspark.errors import InputError
from nights import BUNDLED, DATE, small_sections

MOVIELENS = {"columns": {"user": "userId", "movie": "movieId"}}


@pytest.fixture(scope="module")
def fitted(small_night: Path) -> Any:
    ratings, movies = (pd.read_csv(small_night / "source" / f"{name}.csv") for name in ("ratings", "movies"))
    sections = small_sections(small_night / "source")
    settings = {"source": MOVIELENS, "train": sections["train"], "recommend": sections["recommend"]}
    model = kgspark.KGRecommender(f"run_date={DATE}", settings=settings, frames="arrow")
    assert model.fit(ratings, items=movies) is model
    return model


def test_a_fit_gives_the_lists_of_a_night(fitted: Any, small_night: Path) -> None:
    night = kgspark.Lake(small_night / "lake").latest()
    assert fitted.model_id == night.model_id
    assert fitted.metrics == night.metrics
    assert fitted.recommend().equals(night.table("recommendations").to_arrow())


def test_a_fit_answers_as_its_night(fitted: Any, small_night: Path) -> None:
    other = Recommender.load(small_night / "lake", "arrow")
    user, movie = other.user_ids[4].item(), other.item_ids[4].item()
    some = other.item_ids[:5].tolist()
    assert fitted.similar_items(some, 3).equals(other.similar_items(some, 3))
    assert fitted.fold_in(some, 3).equals(other.fold_in(some, 3))
    assert fitted.history(user).equals(other.history(user))
    ours, theirs = (model.explain(user, movie).as_json() for model in (fitted, other))
    assert ours == theirs


def test_a_fit_again_answers_with_the_new_model(small_night: Path) -> None:
    ratings = pd.read_csv(small_night / "source" / "ratings.csv")
    train = {**small_sections(small_night)["train"], "dim": 4}  # type: ignore[dict-item]
    model = kgspark.KGRecommender("recommend.k=3", settings={"source": MOVIELENS, "train": train}, frames="polars")
    assert repr(model) == "KGRecommender(not fitted)"
    with pytest.raises(InputError, match="not fitted; call fit"):
        model.recommend()
    first = model.fit(ratings).recommend()
    assert isinstance(first, pl.DataFrame)
    again = model.fit(pl.from_pandas(ratings.drop(columns="timestamp")).to_arrow()).recommend()
    assert again["model_id"][0] != first["model_id"][0]
    assert len(again) == 36 * 3
    assert again["user_id"].to_list() == first["user_id"].to_list()


@pytest.mark.extended
def test_a_fit_on_the_bundled_data_gives_the_lists_of_a_night(spark: Any, tmp_path: Path) -> None:
    from kgspark.stages import nightly
    from nights import a_night

    nightly.run(a_night(tmp_path / "lake", spark, source={"path": str(BUNDLED)}))
    ratings, movies, tags = (pd.read_csv(BUNDLED / f"{name}.csv") for name in ("ratings", "movies", "tags"))
    model = kgspark.KGRecommender(f"run_date={DATE}", settings={"source": MOVIELENS}, frames="arrow")
    model.fit(ratings, items=movies, tags=tags)
    night = kgspark.Lake(tmp_path / "lake").latest()
    table: pa.Table = night.table("recommendations").to_arrow()
    assert model.model_id == night.model_id
    assert model.recommend().equals(table)
