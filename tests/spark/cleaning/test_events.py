"""Events that are no ratings: types, counts, SQL, and what several events of one pair make."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgspark.config import load
from kgspark.errors import ConfigError
from kgspark.night.night import Night
from kgspark.night.settings import NightSettings
from kgspark.spark.cleaning.accounts import Accounts
from kgspark.spark.cleaning.events import Events
from kgspark.spark.cleaning.source.dialects import Scale
from kgspark.stages import clean_ratings, index_entities, write_triples
from nights import a_night, configuration

TYPES = {"view": 1, "cart": 3, "purchase": 5, "abandoned": None, "returned": -1}
COLUMNS = {"user": "customer", "movie": "sku", "rating": None, "timestamp": "at"}
FREE = {"max_quarantined_share": 1.0}


def _clean(spark: Any, folder: Path, source: dict[str, Any], clean: dict[str, Any] = FREE, date: str = "01") -> Night:
    night = a_night(
        folder / "lake",
        spark,
        source={"format": "table", "ids": "string", **source},
        clean=FREE | clean,
        run_date=f"2026-01-{date}",
    )
    clean_ratings.run(night)
    return night


def _rows(night: Night, table: str = "ratings") -> list[dict[str, Any]]:
    return pq.read_table(night.run.table(table)).to_pylist()


def _kept(night: Night) -> dict[str, tuple[float, float]]:
    kept = {row["user_id"] + row["movie_id"]: (row["rating"], row["timestamp"]) for row in _rows(night)}
    assert len(kept) == len(_rows(night))
    return kept


def _accounts(night: Night) -> Accounts:
    return Accounts(**night.run.manifest("ratings").details["accounts"]["ratings"])


def _shop(folder: Path, *lines: str) -> dict[str, Any]:
    """A CSV file with the columns of a shop, and the source that reads it."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{len(list(folder.glob('*.csv')))}.csv"
    path.write_text("\n".join(["at,customer,sku,what,pieces", *lines]) + "\n")
    return {"path": str(folder), "columns": COLUMNS}


TYPED = {"columns": COLUMNS | {"event": "what"}, "events": TYPES}
DAY = (
    "100,a,X,view,1",
    "200,a,X,purchase,2",
    "300,a,X,view,1",
    "400,a,X, cart ,4",
    "100,b,X,abandoned,1",
    "100,b,Y,returned,1",
    "100,c,Y,wished,1",
    "100,c,X,,1",
    "100,,X,abandoned,1",
)


@pytest.mark.parametrize(
    ("repeated", "kept"),
    [
        (None, {"aX": (5.0, 200), "bY": (-1.0, 100)}),
        pytest.param("latest", {"aX": (3.0, 400), "bY": (-1.0, 100)}, marks=pytest.mark.extended),
        pytest.param("sum", {"aX": (10.0, 400), "bY": (-1.0, 100)}, marks=pytest.mark.extended),
    ],
)
def test_types_have_values_and_every_event_is_accounted_for(
    spark: Any, tmp_path: Path, repeated: str | None, kept: dict[str, tuple[float, float]]
) -> None:
    night = _clean(spark, tmp_path, _shop(tmp_path / "shop", *DAY) | TYPED, {"repeated": repeated})
    assert _kept(night) == kept
    assert _accounts(night) == Accounts(
        lines=10, headers=1, kept=2, superseded=3, quarantined={"unknown_event": 2}, left_out={"ignored_event": 2}
    )
    assert {row["line"]: row["reason"] for row in _rows(night, "quarantine")} == dict.fromkeys((8, 9), "unknown_event")
    said = clean_ratings.run(night).summary
    assert "10 lines = 2 kept + 3 superseded + 2 ignored_event + 2 quarantined + 1 header (2 unknown_event)" in said


def test_an_event_without_type_and_number_has_the_rating_1(spark: Any, tmp_path: Path) -> None:
    night = _clean(spark, tmp_path, _shop(tmp_path / "shop", *DAY))
    assert set(_kept(night).values()) == {(1.0, 100), (1.0, 400)}
    assert _accounts(night).quarantined == {"missing_user_id": 1}


@pytest.mark.parametrize(
    ("rating", "kept"),
    [
        pytest.param("value * count", {"aX": (12.0, 400), "bY": (-1.0, 100)}, marks=pytest.mark.extended),
        ("CASE WHEN event = 'purchase' THEN ln(1 + count) ELSE 0 END", {"aX": (1.099, 200), "bY": (0.0, 100)}),
    ],
)
def test_sql_makes_the_rating_of_value_count_and_type(
    spark: Any, tmp_path: Path, rating: str, kept: dict[str, tuple[float, float]]
) -> None:
    source = _shop(tmp_path / "shop", *DAY, "500,a,X,view,many") | TYPED
    source |= {"columns": source["columns"] | {"count": "pieces"}, "event_rating": rating}
    night = _clean(spark, tmp_path, source)
    assert _kept(night) == kept
    assert _accounts(night).quarantined["unknown_event"] == 2


def test_events_of_parquet_files_with_numbers_as_types(spark: Any, tmp_path: Path) -> None:
    columns = {"customer": ["a", "a"], "sku": ["X", "Y"], "what": [1, 2], "pieces": [0.5, None], "at": [7, 8]}
    pq.write_table(pa.table(columns), tmp_path / "events.parquet")
    named = COLUMNS | {"event": "what", "count": "pieces"}
    source = {"path": str(tmp_path / "events.parquet"), "columns": named, "events": {"1": 1, "2": 3}}
    night = _clean(spark, tmp_path, source)
    assert _kept(night) == {"aX": (0.5, 7)}
    assert _accounts(night).quarantined == {"rating_not_a_number": 1}


@pytest.mark.extended
@pytest.mark.parametrize("repeated", ["latest", "strongest", "sum"])
def test_new_files_give_what_a_full_cleaning_gives(spark: Any, tmp_path: Path, repeated: str) -> None:
    """Also for sums: the rows of the first night are summed up further."""
    _clean(spark, tmp_path, _shop(tmp_path / "shop", *DAY) | TYPED, {"repeated": repeated}, "01")
    source = _shop(tmp_path / "shop", "350,a,X,purchase,1", "50,b,Y,view,1", "50,d,Y,abandoned,1") | TYPED
    added = _clean(spark, tmp_path, source, {"repeated": repeated}, "02")
    assert added.run.manifest("ratings").details["basis"]["files"] == 1
    full = _clean(spark, tmp_path, source, {"repeated": repeated, "incremental": False}, "03")
    for table in ("ratings", "quarantine", "seen"):
        assert added.run.manifest(table).content == full.run.manifest(table).content is not None
    assert _accounts(added) == _accounts(full)
    assert _accounts(full).left_out == {"ignored_event": 3}


@pytest.mark.parametrize(
    ("events", "scale"),
    [
        (Events("value * count"), Scale(1.0, 2.0, 1.0)),
        (Events("value * count", values={"a": 1.0, "b": 3.0, "c": 5.0, "d": None}), Scale(1.0, 5.0, 2.0)),
        (Events("value * count", values={"a": 0.25, "b": 1.0}), Scale(0.25, 1.0, 0.75)),
        (Events("value * count", has_counts=True), Scale(-1e9, 1e9, 0.001)),
        (Events("ln(2)"), Scale(-1e9, 1e9, 0.001)),
    ],
)
def test_the_scale_has_every_value(events: Events, scale: Scale) -> None:
    assert events.scale == scale


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"columns": {"event": "what"}}, "source.columns: event and count belong to lines without ratings"),
        ({"columns": {"rating": None, "event": "what"}}, "source: events and columns.event belong together"),
        ({"columns": {"rating": None}, "events": {"view": 1}}, "source: events and columns.event belong together"),
        ({"columns": {"rating": None, "event": "e"}, "events": {"view": None}}, "source: events: expected a value"),
        ({"columns": {"rating": None}, "format": "ml-1m"}, "source: columns.rating: null needs a format with columns"),
    ],
)
def test_keys_that_do_not_fit_together_are_one_line(tmp_path: Path, source: dict[str, Any], says: str) -> None:
    conf = configuration(tmp_path, source={"path": "x", "format": "table"} | source)
    with pytest.raises(ConfigError, match=says):
        load(NightSettings, conf)


def test_sql_that_reads_no_column_names_its_key(spark: Any, tmp_path: Path) -> None:
    source = _shop(tmp_path / "shop", *DAY) | {"event_rating": "price * 2"}
    with pytest.raises(ConfigError, match=r"source\.event_rating: .*`price`.*it may read value, count and event"):
        _clean(spark, tmp_path, source)


def test_the_default_relations_of_events_like_every_event_above_0(tmp_path: Path) -> None:
    source = {"path": "x", "format": "table", "columns": {"rating": None}}
    relations = load(NightSettings, configuration(tmp_path, source=source)).relations
    assert (relations["liked"].where, relations["watched"].where) == ("rating > 0", "rating <= 0")
    changed = configuration(tmp_path, source=source, relations={"liked": {"weight": 2}})
    liked = load(NightSettings, changed).relations["liked"]
    assert (liked.where, liked.weight) == ("rating > 0", "2")


def test_the_table_has_all_types_of_a_pair(spark: Any, tmp_path: Path) -> None:
    source = _shop(tmp_path / "shop", *DAY) | TYPED
    night = _clean(spark, tmp_path, source)
    assert _types(night) == {"aX": ["view", "cart", "purchase"], "bY": ["returned"]}
    _shop(tmp_path / "shop", "500,b,Y,view,1", "500,c,X,cart,1", "500,a,X,abandoned,1")
    later = _clean(spark, tmp_path, source, date="02")
    assert "1 of 2 files" in clean_ratings.run(later).summary  # the other one was read on the night before
    assert _types(later) == {"aX": ["view", "cart", "purchase"], "bY": ["view", "returned"], "cX": ["cart"]}


@pytest.mark.extended
@pytest.mark.parametrize("repeated", ["latest", "sum"])
def test_the_types_of_a_pair_do_not_depend_on_what_its_events_make(spark: Any, tmp_path: Path, repeated: str) -> None:
    night = _clean(spark, tmp_path, _shop(tmp_path / "shop", *DAY) | TYPED, {"repeated": repeated})
    assert _types(night) == {"aX": ["view", "cart", "purchase"], "bY": ["returned"]}


def test_only_events_with_types_have_a_column_for_them(spark: Any, tmp_path: Path) -> None:
    night = _clean(spark, tmp_path, _shop(tmp_path / "shop", *DAY))
    assert "events" not in pq.read_schema(night.run.table("ratings") / "part-00000.parquet").names


@pytest.mark.extended
def test_each_type_can_be_a_relation_with_a_weight(spark: Any, tmp_path: Path) -> None:
    """Also of pairs whose strongest event is of another type. A pair that is held out is held out of all of them."""
    pairs = [(user, item) for user in "abcdef" for item in "XYZUVW" if user != item.lower()]
    lines = [f"{100 + i},{u},{m},{kind},1" for i, (u, m) in enumerate(pairs) for kind in ("view", "purchase")]
    source = _shop(tmp_path / "shop", *lines, "900,a,X,cart,1") | TYPED
    ends = {"table": "ratings", "head": "user", "tail": "movie"}
    relations = {
        "viewed": {**ends, "where": "array_contains(events, 'view')", "weight": 0.25},
        "in_cart": {**ends, "where": "array_contains(events, 'cart')", "weight": 0.5},
        "liked": {"where": "array_contains(events, 'purchase')", "weight": 1.0},
    }
    source = {"format": "table", "ids": "string", **source}
    night = a_night(tmp_path / "lake", spark, source=source, clean=FREE, relations=relations, split={"test": 0.3})
    for stage in (clean_ratings, index_entities, write_triples):
        stage.run(night)
    names = {relation["index"]: relation["name"] for relation in night.run.manifest("triples").details["relations"]}
    found: dict[str, dict[tuple[int, int], tuple[str, float]]] = {name: {} for name in names.values()}
    for row in _rows(night, "triples"):
        found[names[row["relation"]]][row["head"], row["tail"]] = (row["split"], row["weight"])
    split = {pair: split for pair, (split, _) in found["liked"].items()}
    assert len(split) == len(pairs)
    assert "test" in split.values()
    assert found["viewed"] == {pair: (split[pair], 0.25) for pair in split}
    assert len(found["in_cart"]) == 1


def _types(night: Night) -> dict[str, list[str]]:
    return {row["user_id"] + row["movie_id"]: row["events"] for row in _rows(night)}
