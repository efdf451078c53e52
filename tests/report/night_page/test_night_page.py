"""The page of a night: its data, counted another way from the tables, and its bytes."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgspark.errors import AuditError
from kgspark.manifests import Manifest
from kgspark.night.night_report import REPORT, add_report
from kgspark.report.night_page.changes import missing
from kgspark.report.night_page.users import FIRST, chosen_users
from kgspark.stages import nightly
from nights import DATE, a_small_night
from worlds.pages_of_nights import BEFORE, HOSTILE, ReportOfNight, report_of, with_a_night_before, with_hostile_titles


@pytest.fixture(scope="module")
def page(small_night: Path, tmp_path_factory: pytest.TempPathFactory) -> ReportOfNight:
    """The page of a small night after another one."""
    lake = with_a_night_before(small_night, tmp_path_factory.mktemp("pages") / "lake")
    return report_of(lake, small_night / "source")


def frame(page: ReportOfNight, table: str) -> pd.DataFrame:
    return pq.read_table(page.lake / "runs" / DATE / table).to_pandas()


def chart(page: ReportOfNight, name: str) -> dict[str, Any]:
    found: dict[str, Any] = page.json("main")["charts"][name]
    return found


def numbers(page: ReportOfNight) -> dict[int, int]:
    """The number on the page of each movie, found by its title, which has the id."""
    return {int(title.split()[1].rstrip(",")): place for place, title in enumerate(page.json("titles"))}


def test_the_lists_are_those_of_the_table_with_last_nights_beside(page: ReportOfNight) -> None:
    table, on_page = frame(page, "recommendations"), numbers(page)
    users = page.json("main")["lists"]
    assert [user["id"] for user in users] == sorted(map(str, table["user_id"].unique()), key=int)
    ratings = frame(page, "ratings").set_index(["user_id", "movie_id"])
    first = on_page[int(table["movie_id"].iloc[0])]
    for user in users:
        rows = table[table["user_id"] == int(user["id"])].sort_values("rank")
        assert [row[0] for row in user["got"]] == [on_page[movie] for movie in rows["movie_id"]]
        assert [row[1] for row in user["got"]] == pytest.approx(rows["score"], abs=1e-4)
        assert [row[2] for row in user["got"]] == [
            on_page[int(it)] if it == it else -1 for it in rows["reason_movie_id"]
        ]
        assert user["before"] == [*(on_page[movie] for movie in rows["movie_id"][:4]), first]
        own = ratings.loc[int(user["id"])]
        liked = own[own["rating"] >= 4].sort_values(["rating", "timestamp"], ascending=False)
        assert user["likes"] == len(liked) == len(user["liked"])
        assert [row[:2] for row in user["liked"]] == [[on_page[m], r] for m, r in liked["rating"].items()]
        days = pd.to_datetime(liked["timestamp"], unit="s").dt.strftime("%Y-%m-%d")
        assert [row[2] for row in user["liked"]] == list(days)


def test_distributions_are_those_of_the_tables(page: ReportOfNight) -> None:
    ratings = frame(page, "ratings")
    values = ratings["rating"].value_counts().sort_index()
    assert chart(page, "ratings")["x"] == [f"{value:g}" for value in values.index]
    assert chart(page, "ratings")["series"][0]["y"] == list(values)
    months = chart(page, "months")
    counted = pd.to_datetime(ratings["timestamp"], unit="s").dt.strftime("%Y-%m").value_counts()
    assert dict(zip(months["x"], months["series"][0]["y"], strict=True)) == {
        **dict.fromkeys(months["x"], 0),
        **counted.to_dict(),
    }
    liked = ratings[ratings["rating"] >= 4]
    for kind, column in (("user", "user_id"), ("movie", "movie_id")):
        classes = pd.cut(liked[column].value_counts(), [0, 1, 4, 9, 19], labels=["1", "2–4", "5–9", "10–19"])
        found = chart(page, f"likes_of_{kind}")
        shown = classes.value_counts()
        assert dict(zip(found["x"], found["series"][0]["y"], strict=True)) == shown[shown > 0].to_dict()


def test_triples_and_entities_are_counted_by_kind(page: ReportOfNight) -> None:
    triples, entities = frame(page, "triples"), frame(page, "entities")
    kinds = entities["kind"].value_counts()
    found = chart(page, "entities")
    assert dict(zip(found["x"], found["series"][0]["y"], strict=True)) == kinds.to_dict()
    found = chart(page, "triples")
    assert sum(sum(series["y"]) for series in found["series"]) == len(triples)
    by_relation = dict(zip(found["x"], zip(*(s["y"] for s in found["series"]), strict=True), strict=True))
    liked = triples[triples["relation"] == 0]["split"].value_counts()
    assert by_relation["liked"] == tuple(liked.get(split, 0) for split in ("train", "valid", "test"))


def test_facts_around_a_user_are_triples(page: ReportOfNight) -> None:
    around, titles = page.json("main")["around"], page.json("titles")
    assert around["target"] == "liked"
    assert set(around["relations"]) == {"has_genre", "released_in"}
    movies = frame(page, "movies").set_index("movie_id")
    assert set(around["facts"]) <= {str(number) for number in numbers(page).values()}
    for number, facts in around["facts"].items():
        movie = movies.loc[int(titles[int(number)].split()[1].rstrip(","))]
        words = {(around["relations"][r], around["entities"][e][0]) for r, e in facts}
        assert words == {("released_in", str(movie["year"])), *(("has_genre", genre) for genre in movie["genres"])}


def test_similar_movies_are_those_with_the_highest_cosine(page: ReportOfNight) -> None:
    folder = page.lake / "runs" / DATE / "search_space"
    items = np.load(folder / "items.npy").astype(np.float64)
    units = items / np.linalg.norm(items, axis=1, keepdims=True)
    ids = pa.ipc.open_file(str(folder / "item_ids.arrow")).read_all()["id"].to_pylist()
    positions = {number: ids.index(movie) for movie, number in numbers(page).items()}
    similar = page.json("main")["similar"]
    assert len(similar["of"]) == 18
    for movie, rows, cosines in zip(similar["of"], similar["rows"], similar["cosines"], strict=True):
        expected = units @ units[positions[movie]]
        expected[positions[movie]] = -2
        assert cosines == pytest.approx(np.sort(expected)[::-1][:10], abs=2e-3)
        assert [expected[positions[row]] for row in rows] == pytest.approx(cosines, abs=2e-3)


def test_the_map_has_a_point_per_movie_and_is_a_projection(page: ReportOfNight) -> None:
    x, y, order = (page.array(name).astype(float) for name in ("x", "y", "numbers"))
    assert (len(x), sorted(order)) == (18, list(range(18)))
    assert (x.min(), x.max(), y.min(), y.max()) == (-32000, 32000, -32000, 32000)
    items = np.load(page.lake / "runs" / DATE / "search_space" / "items.npy").astype(np.float64)
    units = items / np.linalg.norm(items, axis=1, keepdims=True)
    ids = pa.ipc.open_file(str(page.lake / "runs" / DATE / "search_space" / "item_ids.arrow")).read_all()["id"]
    of_page = {number: ids.to_pylist().index(movie) for movie, number in numbers(page).items()}
    centred = (units - units.mean(axis=0))[[of_page[int(number)] for number in order]]
    first = np.linalg.svd(centred, full_matrices=False)[0][:, :2]
    for axis, column in zip((x, y), first.T, strict=True):
        assert abs(np.corrcoef(axis, column)[0, 1]) > 0.999


def test_the_reach_of_the_lists_is_counted(page: ReportOfNight) -> None:
    table = frame(page, "recommendations")
    shown = table[table["rank"] <= 10]["movie_id"].value_counts()
    assert f"{100 * len(shown) / 18:.1f} % of the movies are in a list" in page.text
    bias = chart(page, "bias")
    assert all(sum(series["y"]) == pytest.approx(1, abs=1e-4) for series in bias["series"])


def test_groups_add_up_to_the_metrics(page: ReportOfNight) -> None:
    manifest = Manifest.read(page.lake / "runs" / DATE / "model")
    assert manifest is not None
    metrics, groups = manifest.details["metrics"], manifest.details["groups"]
    triples = frame(page, "triples")
    test = triples[(triples["relation"] == 0) & (triples["split"] == "test")]
    for name in ("model", "popularity"):
        users, ndcg = (np.array([it[key] for it in groups[name]["by_history"]]) for key in ("users", "ndcg"))
        assert users.sum() == test["head"].nunique()
        assert (users * ndcg).sum() / users.sum() == pytest.approx(metrics[name]["ndcg@10"])
        assert sum(it["likes"] for it in groups[name]["by_popularity"]) == len(test)
    series = {it["name"]: it["y"] for it in chart(page, "by_history")["series"]}
    assert series == {name: [it["ndcg"] for it in groups[name]["by_history"]] for name in series}
    assert series.keys() == {"model", "popularity"}


def test_the_changes_since_the_night_before(page: ReportOfNight) -> None:
    assert f"Since the last night that was published, {BEFORE}." in page.text
    kept = chart(page, "kept")["series"][0]["y"]
    # All lists have the same first movies as before; the last one was replaced, except where it stood there anyway.
    table = frame(page, "recommendations")
    ends = table[table["rank"] == 5]["movie_id"] == table["movie_id"].iloc[0]
    assert kept == [0, 0, 0, 0, int((~ends).sum()), int(ends.sum()), 0, 0, 0, 0, 0]
    assert chart(page, "nights")["x"] == [BEFORE, DATE]


def test_new_and_gone_ids_are_found_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kgspark.report.night_page.changes._CHUNK", 7)
    rng = np.random.default_rng(1)
    for kind in (pa.int64(), pa.string()):
        here, there = (pa.array(np.unique(rng.integers(0, 400, 150))).cast(kind).sort() for _ in range(2))
        absent = sorted(set(here.to_pylist()) - set(there.to_pylist()))
        assert missing(here, there) == (len(absent), absent[:8])
        assert missing(here, here) == (0, [])
        assert missing(here, there.slice(0, 0))[0] == len(here)


def test_the_sample_of_users_is_the_same_when_others_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kgspark.report.night_page.users._CHUNK", 64)
    ids = np.arange(1000, 2000)
    for kind in (pa.int64(), pa.string()):
        today = chosen_users(pa.array(ids).cast(kind), 50)
        tomorrow = chosen_users(pa.array(np.concatenate([[7], ids, [5000]])).cast(kind), 50)
        assert list(today[:FIRST]) == list(range(FIRST))
        assert 50 <= len(today) <= 50 + FIRST
        stayed = set(ids[today[FIRST:]]) & set(np.concatenate([[7], ids, [5000]])[tomorrow])
        assert len(stayed) >= len(today) - FIRST - 2


def test_titles_are_only_ever_text_and_the_same_night_gives_the_same_bytes(small_night: Path, tmp_path: Path) -> None:
    lake = with_a_night_before(small_night, tmp_path / "lake")
    with_hostile_titles(lake)
    page = report_of(lake, small_night / "source")
    assert set(page.json("titles")) >= set(HOSTILE)
    assert page.json("main")["genreNames"] == sorted([HOSTILE[0], "Drama"])
    assert page.text.count("<script") == page.text.count("</script>") == 2 + page.text.count('id="data-')
    escaped = [str(jinja2.utils.markupsafe.escape(title)) for title in HOSTILE]
    assert any(title in page.text for title in escaped), "the movies that rose or fell are in the HTML"
    for part in (*HOSTILE[:3], "<img", "<b>bold"):
        assert part not in page.text
    assert report_of(lake, small_night / "source").text == page.text


def test_the_page_needs_no_network_and_is_small(page: ReportOfNight) -> None:
    assert "default-src 'none'" in page.text
    assert not [tag for tag in ("<link", "src=", "@import", "url(") if tag in page.text]
    assert page.path.stat().st_size < 2.5e6


def test_own_names_are_everywhere(small_night: Path, tmp_path: Path) -> None:
    """The columns keep their names here, so that the tables need not be made again."""
    shutil.copytree(small_night / "lake", tmp_path / "lake")
    names = {"user": "customer", "movie": "sku", "genre": "category", "genres": "categories"}
    columns = {"user_id": "user_id", "movie_id": "movie_id"}
    page = report_of(tmp_path / "lake", small_night / "source", names=names | columns)
    assert page.json("main")["words"] | {"users": "customers"} == page.json("main")["words"]
    assert chart(page, "entities")["x"] == ["customer", "sku", "category", "year"]
    body = page.text[page.text.index("<body>") : page.text.index('<script type="application/octet-stream"')]
    # Tables of the source have the names of kgspark, as the stages and checks do.
    shown = body[: body.index('id="data"')] + body[body.index('id="graph"') : body.index('id="course"')]
    for word in (" user", "movies", "genres"):
        assert word not in shown.replace('id="movie-map"', "").replace("#movie-map", "").lower(), word


def test_a_refused_night_says_why_and_a_published_one_forgets_it(spark: Any, small_night: Path, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    said: list[str] = []
    shutil.copytree(small_night / "lake", lake)
    folder = lake / "runs" / DATE / "model"
    manifest = Manifest.read(folder)
    assert manifest is not None
    metrics = {"model": {"ndcg@10": 0.1}, "popularity": {"ndcg@10": 0.2}}
    (folder / "_manifest.json").unlink()
    Manifest(**vars(manifest) | {"details": {**manifest.details, "metrics": metrics}}).write(folder)
    changes: dict[str, Any] = {"publish": {"beat_popularity": True}, "report": {"enabled": True}}
    with pytest.raises(AuditError, match=r"0\.1000, below popularity's 0\.2000"):
        nightly.run(a_small_night(small_night / "source", lake, spark, said.append, **changes))
    assert said[-1].startswith("\nThe report of the night: ")
    text = (lake / "runs" / DATE / REPORT).read_text(encoding="utf-8")
    assert '<span class="pill refused">not published</span>' in text
    assert "below popularity&#39;s 0.2000" in text
    changes["publish"] = {"beat_popularity": False}
    answer = nightly.run(a_small_night(small_night / "source", lake, spark, said.append, **changes))
    text = Path(answer["report"]).read_text(encoding="utf-8")
    assert '<span class="pill">published</span>' in text
    assert "below popularity" not in text
    assert not (lake / "runs" / DATE / "refused.json").exists()
    written = Path(answer["report"]).stat().st_mtime_ns
    again = nightly.run(a_small_night(small_night / "source", lake, spark, said.append, **changes))
    assert again["report"] == answer["report"], "no stage ran, so the page is not written again"
    assert Path(again["report"]).stat().st_mtime_ns == written


def test_what_goes_wrong_with_a_report_is_one_line(
    small_night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(small_night / "lake", tmp_path / "lake")
    said: list[str] = []
    night = a_small_night(small_night / "source", tmp_path / "lake", None, said.append, report={"enabled": True})
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert add_report(night) is None
    assert (
        "the report needs the package jinja2; install it with kgspark's extra: pip install 'kgspark[report]'" in said[0]
    )
    monkeypatch.undo()
    shutil.rmtree(tmp_path / "lake" / "runs" / DATE / "search_space")
    assert add_report(night) is None
    assert said[1].startswith("warn")
    assert "no report: " in said[1]
    assert "\n" not in said[1]
    assert add_report(a_small_night(small_night / "source", tmp_path / "lake", None, said.append)) is None
    assert len(said) == 2


def test_the_times_of_a_night_have_its_memory(small_night: Path) -> None:
    times = json.loads((small_night / "lake" / "runs" / DATE / "times.json").read_text(encoding="utf-8"))
    assert times["memory"].keys() == times["stages"].keys()
    assert all(2**20 < peak < 2**40 for peak in times["memory"].values())
