"""A whole night on real MovieLens, checked from the view of its users."""

import json
import shutil
import time
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from answered import assert_answers_are_the_tables
from kgspark.bench import run as bench
from kgspark.bench.lists.night_lists import compare_night
from nights import BUNDLED, DATE, ROOT, configuration, describe_again, kgspark, only_line, table_bytes

pytestmark = pytest.mark.slow

CONF = ROOT / "conf" / "ml-latest-small.yaml"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake after one night on the bundled data."""
    folder = tmp_path_factory.mktemp("lake")
    done = kgspark("nightly", CONF, f"lake={folder}", f"run_date={DATE}", "spark.master=local[2]")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert not list(folder.glob("runs/*/trace-*")), "a good night has nothing to trace"
    (folder / "stdout.txt").write_text(done.stdout, encoding="utf-8")
    return folder


def published(lake: Path, table: str) -> pd.DataFrame:
    return pq.read_table(lake / "warehouse" / table / f"ds={DATE}", partitioning=None).to_pandas()


def test_every_user_has_k_unseen_movies_in_the_warehouse(lake: Path) -> None:
    table = published(lake, "recommendations")
    ratings = pd.read_csv(BUNDLED / "ratings.csv")
    assert len(table) == 610 * 100
    assert sorted(table["user_id"].unique()) == sorted(ratings["userId"].unique())
    assert all(sorted(ranks) == list(range(1, 101)) for _, ranks in table.groupby("user_id")["rank"])
    seen = set(zip(ratings["userId"], ratings["movieId"], strict=True))
    assert not seen & set(zip(table["user_id"], table["movie_id"], strict=True))
    ordered = table.sort_values(["user_id", "rank"])
    assert (ordered.groupby("user_id")["score"].diff().dropna() <= 0).all()
    assert table["movie_id"].isin(pd.read_csv(BUNDLED / "movies.csv")["movieId"]).all()
    liked = set(ratings.loc[ratings["rating"] >= 4, ["userId", "movieId"]].itertuples(index=False, name=None))
    reasons = table.dropna(subset="reason_movie_id")
    assert set(zip(reasons["user_id"], reasons["reason_movie_id"].astype(int), strict=True)) <= liked


def test_a_recommender_answers_with_the_published_lists(lake: Path) -> None:
    assert_answers_are_the_tables(lake)


def test_every_movie_has_an_audience_that_has_not_rated_it(lake: Path) -> None:
    table = published(lake, "audiences")
    ratings = pd.read_csv(BUNDLED / "ratings.csv")
    assert table["movie_id"].nunique() == 9742
    assert (table.groupby("movie_id").size() == 100).all()
    seen = set(zip(ratings["userId"], ratings["movieId"], strict=True))
    assert not seen & set(zip(table["user_id"], table["movie_id"], strict=True))


def test_audiences_are_of_users_who_like_such_movies(lake: Path) -> None:
    """By the model's own score, user 442 (20 ratings, no like, a short vector) is in 99 % of the audiences."""
    table = published(lake, "audiences")
    top = table[table["rank"] <= 10]
    assert (top["user_id"] == 442).sum() == 0
    assert set(table["model_id"]) == set(published(lake, "recommendations")["model_id"])
    said: list[str] = []
    answer = bench.run("audiences", [f"night={lake / 'runs' / DATE}", "activities=[0.5]"], said.append)
    own, comparable, popular = answer["rows"]
    assert own["most_frequent_user"] > 0.95
    assert popular["distinct_users"] < 0.2
    assert comparable["most_frequent_user"] < 0.7
    assert comparable["distinct_users"] > 0.8
    for figure in ("ndcg", "precision"):
        assert comparable[figure] > 1.5 * max(own[figure], popular[figure])
    assert [line.split(",")[0].split("  ")[0] for line in said[1:]] == [own["score"], "comparable", popular["score"]]


def test_every_list_is_all_scores_sorted_and_a_changed_one_is_found(lake: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(lake / "runs" / DATE, run)
    lists = [("recommendations", 610, 0, 0), ("audiences", 9742, 0, 0)]
    assert [(row["table"], row["lists"], row["wrong"], row["seen"]) for row in compare_night(run)] == lists
    path = next((run / "recommendations").glob("part-*"))
    table = pq.read_table(path, partitioning=None)
    seen = pq.read_table(run / "ratings", columns=["user_id", "movie_id"], partitioning=None).to_pandas()
    first = int(table["user_id"][0].as_py())
    liked = int(seen.loc[seen["user_id"] == first, "movie_id"].iloc[0])
    movies = pa.array([liked, *table["movie_id"].to_pylist()[1:]], table["movie_id"].type)
    pq.write_table(table.set_column(table.schema.get_field_index("movie_id"), "movie_id", movies), path)
    assert [(row["wrong"], row["seen"]) for row in compare_night(run)] == [(1, 1), (0, 0)]


def test_approximate_search_is_compared_with_the_exact_one(lake: Path) -> None:
    said: list[str] = []
    small = ["queries=50", "rounds=2", "kinds=[ivf, pq]", "index.cells=40"]
    answer = bench.run("index", [f"night={lake / 'runs' / DATE}", *small], said.append)
    rows = {(row["table"], row["kind"]): row for row in answer["rows"]}
    # The 610 users are too few for anything but an exact search.
    assert list(rows) == [("recommendations", kind) for kind in ("flat", "ivf", "pq")] + [("audiences", "flat")]
    for (table, kind), row in rows.items():
        assert (row["queries"], len(row["rounds"])) == (50, 2)
        assert row["ranked"] == {"recommendations": 9742, "audiences": 610}[table]
        assert row["recall"] == 1 if kind == "flat" else 0.5 < row["recall"] <= 1
    assert rows["recommendations", "pq"]["bytes"] < rows["recommendations", "ivf"]["bytes"] / 2
    assert [line.split()[0] for line in said] == [
        "bench",
        "recommendations:",
        "flat",
        "ivf",
        "pq",
        "audiences:",
        "flat",
    ]


def test_the_night_tells_counts_metrics_places_and_titles(lake: Path) -> None:
    text = (lake / "stdout.txt").read_text(encoding="utf-8")
    assert "100,837 lines = 100,836 kept + 0 superseded + 0 quarantined + 1 header" in text
    assert "610 user, 9,742 movie" in text
    assert "61,000 rows" in text
    assert "recommendations/ds=" in text
    assert "(1994)" in text or "(1999)" in text
    figures = {
        line.split()[0]: float(line.split()[1]) for line in text.splitlines() if line.startswith(("model ", "popul"))
    }
    assert figures["model"] > 1.3 * figures["popularity"]
    page = lake / "runs" / DATE / "report.html"
    assert text.splitlines()[-1] == f"The report of the night: {page}"
    assert 1e6 < page.stat().st_size < 5e6


def test_a_second_night_does_nothing_and_new_candidates_only_rank_again(lake: Path, tmp_path: Path) -> None:
    arguments = ("nightly", CONF, f"lake={lake}", f"run_date={DATE}", "spark.master=local[2]")
    before = table_bytes(lake, "recommendations")
    again = kgspark("--json", *arguments)
    assert again.returncode == 0, again.stderr
    assert [stage["ran"] for stage in json.loads(again.stdout)["stages"]] == [False] * 6
    assert table_bytes(lake, "recommendations") == before
    copy = tmp_path / "lake"
    shutil.copytree(lake, copy)
    lines = ["why,movie_id", '"rights ""EU"", ended",318.0', "rights, 356 ", "rights,tt1"]
    (tmp_path / "blocked.csv").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "foreign.csv").write_text("movie_id\ntt1\ntt2\n", encoding="utf-8")
    offered = [
        f"source.tables.blocked.path={tmp_path / 'blocked.csv'}",
        *("candidates.deny=blocked", "candidates.min_ratings=2"),
        *("candidates.segments.even.users=user_id % 2 = 0", "candidates.segments.even.movies=year >= 1995"),
    ]
    ranked = kgspark("--json", *arguments, f"lake={copy}", "recommend.k=5", "recommend.index.kind=hnsw", *offered)
    assert ranked.returncode == 0, ranked.stderr
    ran = {stage["stage"]: stage["ran"] for stage in json.loads(ranked.stdout)["stages"]}
    assert [name for name, did in ran.items() if did] == ["recommend", "publish"]
    assert "; candidates.deny: 1 of 3 rows of blocked name no movie, such as 'tt1'" in ranked.stdout
    table, audiences = published(copy, "recommendations"), published(copy, "audiences")
    assert len(table) == 610 * 5
    counts = pd.read_csv(BUNDLED / "ratings.csv").groupby("movieId").size()
    years = pq.read_table(copy / "runs" / DATE / "movies", columns=["movie_id", "year"]).to_pandas()
    recent = set(years.loc[years["year"] >= 1995, "movie_id"])
    for rows in (table, audiences):
        assert (rows["movie_id"].map(counts) >= 2).all()
        assert not rows["movie_id"].isin([318, 356]).any()
        assert rows.loc[rows["user_id"] % 2 == 0, "movie_id"].isin(recent).all()
        assert not rows.loc[rows["user_id"] % 2 == 1, "movie_id"].isin(recent).all()
    details = json.loads((copy / "runs" / DATE / "recommendations" / "_manifest.json").read_text())["details"]
    assert details["search"] == ["hnsw"]
    assert 0.95 <= details["recall"] <= 1
    assert table_bytes(lake, "recommendations") == before
    foreign = (f"source.tables.foreign.path={tmp_path / 'foreign.csv'}", "candidates.deny=foreign")
    refused = kgspark("recommend", *arguments[1:], f"lake={copy}", *foreign)
    assert refused.returncode == 65
    assert "candidates.deny: 2 of 2 rows of foreign name no movie, such as 'tt1'" in only_line(refused)


def test_the_metrics_of_training_and_of_evaluate_agree(lake: Path) -> None:
    quick = "evaluate.baselines=[popularity, item-knn]"  # EASE's time grows with the cube of the catalogue
    done = kgspark("evaluate", CONF, f"lake={lake}", f"run_date={DATE}", quick, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    ours = answer["rows"][0]
    recorded = json.loads((lake / "runs" / DATE / "model" / "_manifest.json").read_text())["details"]["metrics"][
        "model"
    ]
    for figure in ("ndcg@10", "recall@10", "mrr@10"):
        assert ours[figure] == pytest.approx(recorded[figure], abs=1e-4)
    assert answer["protocol"] == "random"
    assert answer["data"]["test"] > 6000


def test_a_failing_night_leaves_yesterdays_tables(lake: Path, tmp_path: Path) -> None:
    before = {name: table_bytes(lake, name) for name in ("recommendations", "audiences")}
    source = tmp_path / "source"
    shutil.copytree(BUNDLED, source)
    lines = (source / "ratings.csv").read_bytes().splitlines()[:2_000]
    (source / "ratings.csv").write_bytes(b"\n".join([lines[0], *(b"broken," + line for line in lines[1:])]))
    done = kgspark(
        "nightly", CONF, f"source.path={source}", f"lake={lake}", f"run_date={DATE}", "spark.master=local[2]"
    )
    assert done.returncode == 65
    line = only_line(done)
    assert "wrong_field_count" in line
    assert "clean.max_quarantined_share" in line
    assert {name: table_bytes(lake, name) for name in before} == before


def test_an_audit_that_fails_publishes_nothing(lake: Path, tmp_path: Path) -> None:
    copy = tmp_path / "lake"
    shutil.copytree(lake, copy)
    published_before = table_bytes(copy, "recommendations")
    folder = copy / "runs" / DATE / "recommendations"
    path = min(folder.glob("part-*.parquet"))
    rows = pq.read_table(path, partitioning=None)
    pq.write_table(rows.slice(1), path)  # user 1 loses rank 1
    describe_again(folder)
    shutil.rmtree(copy / "runs" / DATE / "published")
    done = kgspark("publish", CONF, f"lake={copy}", f"run_date={DATE}", "spark.master=local[2]")
    assert done.returncode == 3
    assert "every id has its rows" in only_line(done)
    assert table_bytes(copy, "recommendations") == published_before


def test_two_nights_at_once_are_refused(tmp_path: Path) -> None:
    import fcntl

    folder = tmp_path / "runs" / DATE
    folder.mkdir(parents=True)
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = kgspark("nightly", CONF, f"lake={tmp_path}", f"run_date={DATE}")
    assert done.returncode == 75
    assert "another kgspark process" in only_line(done)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["source.path=/nowhere"], 65, "/nowhere: no such file or folder"),
        (["train.dmi=64"], 2, "did you mean 'dim'"),
        (["train.dim=many"], 2, "train.dim"),
        (["run_date=yesterday"], 2, "YYYY-MM-DD"),
        (["source.encoding=utf-7"], 2, "source.encoding"),
        (["train.target=loved"], 2, "train.target"),
    ],
)
def test_a_wrong_setting_is_one_line(arguments: list[str], code: int, says: str, tmp_path: Path) -> None:
    done = kgspark("nightly", CONF, f"lake={tmp_path}", *arguments)
    assert done.returncode == code
    assert says in only_line(done)
    assert not list(tmp_path.glob("warehouse/*"))


def test_a_missing_java_is_one_line(tmp_path: Path) -> None:
    started = time.monotonic()
    done = kgspark("clean-ratings", CONF, f"lake={tmp_path}", env={"PATH": str(tmp_path), "HOME": str(tmp_path)})
    assert done.returncode == 69
    assert "Java 17" in only_line(done)
    assert time.monotonic() - started < 60


def test_an_empty_or_foreign_file_is_one_line(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(BUNDLED, source)
    (source / "ratings.csv").write_bytes(b"")
    conf = configuration(tmp_path, source={"path": str(source)}, lake=str(tmp_path / "lake"))
    assert "the file is empty" in only_line(kgspark("clean-ratings", conf))
    (source / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,1,4.0,964982703\n", encoding="utf-16")
    line = only_line(kgspark("clean-ratings", conf))
    assert "ratings.csv" in line
    assert not (tmp_path / "lake" / "runs" / DATE / "ratings").exists()
