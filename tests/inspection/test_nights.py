"""Whole nights by configurations that `kgspark init` wrote, on tables of other shapes than MovieLens."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgspark.inspection.init import run
from nights import DATE, kgspark
from worlds.tastes import write_world

pytestmark = pytest.mark.extended

SHORT = (f"run_date={DATE}", "train.epochs=2", "train.dim=8", "publish.beat_popularity=false", "spark.master=local[2]")


@pytest.fixture
def ratings(tmp_path: Path) -> list[dict[str, str]]:
    write_world(tmp_path / "world", groups=3, users=16, movies=8)
    with open(tmp_path / "world" / "ratings.csv", encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def night(folder: Path, source: str) -> dict[str, object]:
    """Writes a configuration for `source`, and runs a night by it; the sections of what `--json` prints."""
    out = folder / "own.yaml"
    run(str(folder / source), (), lambda line: None, out=str(out))
    done = kgspark("nightly", out, *SHORT, "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    assert list((folder / "lake" / "warehouse" / "recommendations" / f"ds={DATE}").glob("*.parquet"))
    return json.loads(done.stdout)


def test_a_shop_with_semicolons_ten_points_and_three_tables(ratings: list[dict[str, str]], tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    lines = ["customer;article;points;bought at"]
    for row in ratings:
        time = datetime.fromtimestamp(int(float(row["timestamp"])), UTC)
        lines.append(f"c{row['userId']};a{row['movieId']};{float(row['rating']) * 2:.0f};{time:%Y-%m-%d %H:%M:%S}")
    (shop / "orders.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    articles = sorted({row["movieId"] for row in ratings}, key=int)
    texts = [json.dumps({"id": f"a{each}", "name": f"Article {each}", "categories": ["x", "y"]}) for each in articles]
    (shop / "articles.jsonl").write_text("\n".join(texts) + "\n", encoding="utf-8")
    people = sorted({row["userId"] for row in ratings}, key=int)
    (shop / "people.csv").write_text(
        "customer,country\n" + "".join(f"c{each},{('de', 'fr')[int(each) % 2]}\n" for each in people), encoding="utf-8"
    )
    night(tmp_path, "shop")
    layout = json.loads((tmp_path / "lake" / "runs" / DATE / "entities" / "_manifest.json").read_text("utf-8"))
    assert "country" in json.dumps(layout["details"]["layout"])


def test_events_in_parquet_without_items(ratings: list[dict[str, str]], tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    table = {
        "visitor": [int(row["userId"]) for row in ratings],
        "sku": [int(row["movieId"]) for row in ratings],
        "action": ["purchase" if float(row["rating"]) >= 4 else "view" for row in ratings],
        "ts": [int(float(row["timestamp"])) * 1000 for row in ratings],
    }
    pq.write_table(pa.table(table), tmp_path / "events" / "part-0.parquet")
    night(tmp_path, "events")


def test_ratings_without_a_header_and_without_times(ratings: list[dict[str, str]], tmp_path: Path) -> None:
    text = "".join(f"{row['userId']},{row['movieId']},{float(row['rating']):.0f}\n" for row in ratings)
    (tmp_path / "ratings.txt").write_text(text, encoding="utf-8")
    night(tmp_path, "ratings.txt")
