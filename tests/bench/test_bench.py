"""`kgspark bench`: one JSON object, one row per system. Times are not tested."""

import json
from pathlib import Path

import pytest

from kgspark.bench.nights.etl import exponent
from nights import BUNDLED, kgspark, only_line


@pytest.fixture
def few_movies(tmp_path) -> Path:
    """The bundled ratings of the movies with an id up to 500: EASE's time grows with the cube of the catalogue."""
    folder = tmp_path / "few"
    folder.mkdir()
    for name, column in (("ratings.csv", 1), ("movies.csv", 0)):
        header, *lines = (BUNDLED / name).read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if int(line.split(",")[column]) <= 500]
        (folder / name).write_text("".join([header, *kept]), encoding="utf-8")
    return folder


@pytest.mark.extended
def test_bench_train(few_movies):
    size = ["generated.ratings=2000", "generated.users=200", "generated.movies=100", "generated.negatives=16"]
    small = ["rounds=2", "sample=600", "filtered_sample=100", "batch_size=64", "train.dim=16", "train.epochs=3"]
    done = kgspark(
        *("bench", "train", "--json", f"source={few_movies}", *small, *size, "train.device=cpu"),
        *("overrides=[relations.released_in=null]",),
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["bench"], answer["device"], answer["settings"]["train"]["epochs"]) == ("train", "cpu", 3)
    rows = {row["system"]: row for row in answer["rows"]}
    triples = {system: row["triples"] for system, row in rows.items()}
    whole, negatives = triples.pop("kgspark"), triples.pop("kgspark, filtered typed negatives")
    assert whole >= negatives > 5_000
    assert triples == {
        "tgraphx KGTrainer": 600,
        "tgraphx KGTrainer, filtered negatives": 100,
        "kgspark, KGTrainer's objective": 600,
        "kgspark, generated graph": 2000,
        "tgraphx, filtered typed negatives": 100,
    }
    for row in rows.values():
        assert len(row["rounds"]) == 2
        assert row["triples_per_second"] == pytest.approx(row["triples"] / row["seconds"])
    assert rows["kgspark, generated graph"]["host_peak_bytes"] > 2**20
    speed = rows["kgspark"]["triples_per_second"] / rows["tgraphx KGTrainer"]["triples_per_second"]
    assert answer["ratios"]["kgspark"] == pytest.approx(speed)
    assert set(answer["ratios"]) == {"kgspark", "kgspark, KGTrainer's objective", "kgspark, filtered typed negatives"}
    race = answer["race"]
    assert 0 < race["ease"]["ndcg@10"] < 1
    assert [lap["epoch"] for lap in race["laps"]] == [1, 2, 3]
    assert race["final"] == {"ndcg@10": race["laps"][-1]["score"], "seconds": race["laps"][-1]["seconds"], "epochs": 3}
    assert 0 < race["data"]["movies"] <= 500
    reached = [lap for lap in race["laps"] if lap["score"] >= race["ease"]["ndcg@10"]]
    assert race["seconds_to_ease"] == (reached[0]["seconds"] if reached else None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["trian"],
            "unknown benchmark 'trian'; expected one of nightly, incremental, models, graph, keys, topk, index, "
            "audiences, executors, etl, train",
        ),
        (["train", "samples=3"], "command line: samples: unknown key; did you mean 'sample'?"),
        (["train", "generated.ratings=10", "generated.movies=2", "generated.users=3"], "must leave half of all pairs"),
        (["train", "train.device=cuda:99"], "train.device: cuda:99 was set"),
        (["index"], "command line: night: "),
        (["audiences", "night=lake/runs/nowhere"], "nowhere/model: no complete table here; run train-embeddings first"),
        (["index", "night=nowhere"], "nowhere: no table recommendations; night= takes a night's folder"),
    ],
)
def test_a_split_that_cannot_be_measured_is_an_error_of_one_line(arguments, message):
    done = kgspark("bench", *arguments)
    assert done.returncode in (2, 65, 66, 69)
    assert message in only_line(done)


@pytest.mark.extended
def test_bench_etl(tmp_path):
    small = ["ratings=20000", "users=600", "movies=400", "sizes=[5000]", f"data={tmp_path}"]
    done = kgspark("bench", "etl", "--json", *small)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["equal"], answer["differences"]) == (True, [])
    assert {path.name for path in tmp_path.iterdir()} == {"20000-600-400-42", "5000-150-100-42"}
    rows = {(row["system"], row["ratings"]): row for row in answer["rows"]}
    assert rows.keys() == {(system, size) for system in ("kgspark", "DuckDB") for size in (5000, 20000)}
    for row in rows.values():
        assert row["seconds"] == pytest.approx(sum(row["stages"].values()))
        assert list(row["stages"]) == ["clean", "index", "triples"]
        assert row["peak_bytes"] > 2**20
    ours, theirs = rows["kgspark", 20000], rows["DuckDB", 20000]
    assert 2**20 < ours["heap_peak_bytes"] < 2 * 2**30
    assert answer["ratio"] == pytest.approx(ours["seconds"] / theirs["seconds"])
    assert answer["growth"].keys() == {"kgspark", "DuckDB"}


def test_the_growth_of_time_is_the_exponent_of_a_power():
    assert exponent({10: 2.0}) is None
    assert exponent({size: 3.0 * size**1.25 for size in (10, 70, 1000)}) == pytest.approx(1.25)


@pytest.mark.extended
def test_bench_incremental():
    quick = "train.epochs=4, train.warm_epochs=2, train.dim=16, recommend.k=5, audiences.enabled=false"
    anyway = "publish.beat_popularity=false, publish.beat_champion=false"
    done = kgspark("bench", "incremental", "--json", "nights=1", f"overrides=[{quick}, {anyway}]")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    rows = {row["system"]: row for row in answer["rows"]}
    assert rows.keys() == {"incremental night", "full night"}
    assert answer["ratio"] == pytest.approx(rows["incremental night"]["seconds"] / rows["full night"]["seconds"])
    for row in rows.values():
        assert len(row["ndcg@10"]) == len(row["list_churn"]) == 1
        assert row["seconds"] > sum(row["stages"].values()) - 1


@pytest.mark.extended
def test_bench_topk():
    small = ["users=900", "movies=700", "dim=16", "k=10", "seen=30000", "rounds=2", "checked=300", "block=256"]
    done = kgspark("bench", "topk", "--json", *small)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["exact"] is True
    assert answer["longest_history"] > 3 * 30000 / 900
    timed = {row["system"]: len(row["rounds"]) for row in answer["rows"]}
    assert timed == {
        "FAISS flat, nothing left out": 2,
        "kgspark": 2,
        "implicit topk": 2,
        "Spark recommendForAllUsers, nothing left out": 1,
    }
    assert set(answer["ratios"]) == timed.keys() - {"kgspark"}


@pytest.mark.extended
def test_bench_executors():
    masters = "masters=['local[2]', 'local-cluster[2,1,1024]']"
    done = kgspark("bench", "executors", "--json", masters, "rounds=1", "overrides=[train.epochs=1, train.dim=16]")
    assert done.returncode == 0, done.stderr
    one, two = json.loads(done.stdout)["rows"]
    assert (one["master"], two["master"]) == ("local[2]", "local-cluster[2,1,1024]")
    assert one["same_bytes"] is two["same_bytes"] is True
    assert two["speedup"] == pytest.approx(one["seconds"] / two["seconds"])
