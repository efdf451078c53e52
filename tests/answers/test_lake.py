"""A lake's nights: what is there, and tables as the frame that is asked for."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.compute as pc
import pytest

import kgspark
from kgspark.errors import InputError
from kgspark.manifests import Manifest
from nights import DATE


@pytest.fixture
def night(small_night: Path) -> Any:
    return kgspark.Lake(small_night / "lake").latest()


def test_the_nights_of_a_lake(small_night: Path, night: Any) -> None:
    lake = kgspark.Lake(str(small_night / "lake"))
    assert [each.date for each in lake.nights()] == [DATE] == [night.date]
    assert lake.night(DATE).state.published == "latest"
    assert {"ratings", "triples", "model", "recommendations", "published"} <= set(night.tables)
    assert 0 < night.metrics["model"]["ndcg@10"] <= 1
    assert night.manifest("recommendations").details["k"] == 5
    with pytest.raises(InputError, match=f"no night of 2020-01-01 here; there are {DATE}"):
        lake.night("2020-01-01")
    with pytest.raises(InputError, match="no lake here; kgspark nightly makes one"):
        kgspark.Lake(small_night / "nowhere")


def test_a_table_in_every_frame(small_night: Path, night: Any, spark: Any) -> None:
    table = night.table("recommendations")
    assert "warehouse" in str(table.folder)
    arrow = table.to_arrow(where=pc.field("rank") == 1, columns=["user_id", "movie_id", "score"])
    assert arrow.num_rows == 36
    assert table.rows == 36 * 5 == night.manifest("recommendations").rows
    assert table.schema.names == table.to_arrow().column_names
    assert table.to_pandas()["score"].dtype == np.float32
    assert isinstance(table.to_polars(), pl.DataFrame)
    assert table.to_spark(spark).where("rank = 1").count() == 36
    ratings = night.table("ratings")
    assert ratings.folder == small_night / "lake" / "runs" / DATE / "ratings"
    assert ratings.to_spark(spark).count() == ratings.rows


def test_vectors_and_ids_belong_together(night: Any) -> None:
    assert night.user_vectors.shape == (36, 8)
    assert night.item_vectors.shape == (18, 8)
    assert night.user_vectors.dtype == np.float32
    assert night.user_ids.tolist() == sorted(night.table("ratings").to_pandas()["user_id"].unique())
    assert night.item_ids.dtype == np.int64
    assert set(night.sources("items")) == {"model"}


def test_what_is_no_table_is_one_line(night: Any, small_night: Path) -> None:
    with pytest.raises(InputError, match="no table is called 'rating'; a night has ratings, "):
        night.table("rating")
    with pytest.raises(InputError, match="no table users here; this night has ratings, "):
        night.table("users")
    with pytest.raises(InputError, match="no Parquet files, so this is no table of rows"):
        night.table("model").to_arrow()


def test_a_night_of_which_only_the_published_tables_are_left(small_night: Path, tmp_path: Path) -> None:
    shutil.copytree(small_night / "lake" / "warehouse", tmp_path / "warehouse")
    (night,) = kgspark.Lake(tmp_path).nights()
    assert night.state.state == "removed"
    assert night.table("recommendations").rows == 36 * 5
    assert "ratings" not in night.tables


def test_a_lake_without_a_published_night(small_night: Path, tmp_path: Path) -> None:
    shutil.copytree(small_night / "lake" / "runs", tmp_path / "runs")
    lake = kgspark.Lake(tmp_path)
    with pytest.raises(InputError, match=f"no night is published here; there are {DATE}"):
        lake.latest()
    assert lake.night(DATE).table("recommendations").folder == tmp_path / "runs" / DATE / "recommendations"
    assert Manifest.read(tmp_path / "runs" / DATE / "recommendations") is not None
