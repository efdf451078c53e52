"""Past nights know what was known then, and are judged by what their users liked next."""

import datetime
import json
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from kgspark.errors import ConfigError, StageError
from kgspark.experiments import evaluate, tune
from kgspark.manifests import Manifest
from kgspark.night.night import Night
from kgspark.stages import clean_ratings, index_entities, write_triples
from kgspark.tables import ENTITIES, MOVIES, RATINGS, TAGS, TRIPLES
from nights import DATE, a_night, describe_again

GROUPS, USERS, MOVIES_OF_GROUP = 2, 8, 8
FIRST, SECOND = datetime.date(2020, 3, 1), datetime.date(2020, 3, 11)
SOON, LATE, LONG_AFTER = 0.5, 20, 90  # days after FIRST
EVERYONES, NEW_MOVIE, NEW_USER, CRITIC = 500, 501, 601, 602
TIMED = [RATINGS, TAGS, TRIPLES]


@dataclass(frozen=True)
class Like:
    """A rating of 5, or of 2 if it is no like, some days after FIRST."""

    user: int
    movie: int
    day: float
    stars: float = 5.0

    @property
    def time(self) -> int:
        return int(_second(FIRST) + self.day * 86_400)


def _second(date: datetime.date) -> int:
    return (date - datetime.date(1970, 1, 1)).days * 86_400


def _world() -> list[Like]:
    """Users like the movies of their group and one movie that everyone likes, but for two, which they like later on.

    They like the first of the two half a day after FIRST begins, the second 20 days after. A critic likes nothing
    before, and everyone's movie after two days. A new user and a new movie appear. All ends 90 days after FIRST.
    """
    likes = []
    for group in range(GROUPS):
        movies = [100 * (group + 1) + place for place in range(MOVIES_OF_GROUP)]
        for place in range(USERS):
            user = 10 * (group + 1) + place
            later = {movies[place]: SOON, movies[(place + 3) % MOVIES_OF_GROUP]: LATE}
            likes += [Like(user, movie, later.get(movie, -40 + at + place / 10)) for at, movie in enumerate(movies)]
            likes.append(Like(user, EVERYONES, -20.0 - place))
    likes += [Like(CRITIC, movie, -3.0, stars=2.0) for movie in (100, 200)]
    likes.append(Like(CRITIC, EVERYONES, 2.0))
    likes += [Like(NEW_USER, EVERYONES, 2.0), Like(NEW_USER, NEW_MOVIE, 3.0), Like(10, NEW_MOVIE, 4.0)]
    return [*likes, Like(NEW_USER, 100, LONG_AFTER)]


WORLD = _world()


def _write(folder: Path, likes: list[Like]) -> None:
    """Writes ratings, movies and, for each like of everyone's movie, a tag."""
    folder.mkdir()
    tables = {
        "ratings": ["userId,movieId,rating,timestamp"]
        + [f"{like.user},{like.movie},{like.stars},{like.time}" for like in likes],
        "movies": ["movieId,title,genres"]
        + [f"{movie},Film {movie} (2000),Drama" for movie in sorted({like.movie for like in likes})],
        "tags": ["userId,movieId,tag,timestamp"]
        + [f"{like.user},{like.movie},known,{like.time}" for like in likes if like.movie == EVERYONES],
    }
    for name, lines in tables.items():
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _night(
    folder: Path, spark: Any, say: Callable[[str], None] = print, lake: Path | None = None, **evaluated: object
) -> Night:
    evaluated = {"dates": [FIRST, SECOND], "ks": [2, 4], "baselines": ["popularity"], "resamples": 200} | evaluated
    return a_night(
        lake or folder / "lake",
        spark,
        say,
        source={"path": str(folder / "source")},
        train={
            **{"dim": 8, "epochs": 30, "temperature": 0.2, "learning_rate": 0.02, "refit": "anew"},
            **{"device": "cpu", "threads": 1},
        },
        triples={"co_watch": {"min_users": 1}},
        evaluate={"protocol": "nights", **evaluated},
        names={"movie": "film"},
    )


@pytest.fixture(scope="module")
def evaluated(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """The folder, the answer and the printed lines of an evaluation of two nights."""
    folder, said = tmp_path_factory.mktemp("backtest"), []
    _write(folder / "source", WORLD)
    answer = evaluate.run(_night(folder, spark, said.append))
    return folder, json.loads(json.dumps(answer)), "\n".join(said)


def _row(answer: dict[str, Any], date: datetime.date, days: int, model: str = "kgspark") -> dict[str, Any]:
    (row,) = (r for r in answer["rows"] if (r["date"], r["days"], r["model"]) == (str(date), days, model))
    return row


def _past(lake: Path) -> Path:
    """The folder of the first night."""
    return lake / "runs" / DATE / "evaluations" / "nights" / "runs" / str(FIRST)


@pytest.mark.extended
def test_a_like_counts_from_its_day_on(evaluated: tuple[Path, dict[str, Any], str]) -> None:
    answer = evaluated[1]
    counts = {(row["date"], row["days"]): row for row in answer["nights"]}
    lists = {key: row["lists"] for key, row in counts.items()}
    everyone = GROUPS * USERS
    first, second = str(FIRST), str(SECOND)
    assert lists == {
        **{(first, 1): everyone, (first, 7): everyone + 1, (first, 30): everyone + 1},  # with the critic
        **{(second, 1): 0, (second, 7): 0, (second, 30): everyone},
    }
    assert counts[first, 1]["likes"] == everyone
    assert counts[first, 7]["likes"] == everyone + 4
    assert counts[first, 30]["likes"] == 2 * everyone + 4
    assert [(w["days"], w["lists"], w["users"]) for w in answer["pooled"]] == [
        (1, everyone, everyone),
        (7, everyone + 1, everyone + 1),
        (30, 2 * everyone + 1, everyone + 1),
    ]


@pytest.mark.extended
def test_the_lines_have_the_own_words(evaluated: tuple[Path, dict[str, Any], str]) -> None:
    told = evaluated[2]
    assert "of new users   of new films" in told
    assert re.search(rf"known before {FIRST}: \d+ ratings, 17 films", told)
    assert re.search(r"likes in 30 days .* of known users and films; \d+ are in the lists", told)


@pytest.mark.extended
def test_the_withheld_movies_lead_the_lists(evaluated: tuple[Path, dict[str, Any], str]) -> None:
    answer = evaluated[1]
    # The two movies that are left of a user's group have the first two places, in an unknown order.
    assert _row(answer, FIRST, 1)["recall@2"] == 1
    assert _row(answer, FIRST, 30)["ndcg@2"] >= GROUPS * USERS / (GROUPS * USERS + 1)
    # The first of the two is known by then, and so is the new movie, which may come before the second one.
    assert _row(answer, SECOND, 30)["recall@2"] == 1
    ours, popular = (row for row in answer["summary"] if row["days"] == 30)
    low, high = ours["ci95"]["ndcg@2"]
    assert low <= ours["ndcg@2"] <= high
    assert popular["lead"]["ndcg@2"]["mean"] == pytest.approx(ours["ndcg@2"] - popular["ndcg@2"])
    assert popular["lead"]["ndcg@2"]["ci95"][0] > 0


@pytest.mark.extended
def test_what_is_new_is_out_of_reach_and_counted(evaluated: tuple[Path, dict[str, Any], str]) -> None:
    answer = evaluated[1]
    week = next(row for row in answer["nights"] if (row["date"], row["days"]) == (str(FIRST), 7))
    assert (week["likes_of_new_users"], week["likes_of_new_movies"]) == (2, 1)
    assert (week["new_users"], week["new_movies"]) == (1, 1)
    assert week["likes"] == week["likes_in_reach"] + 3


@pytest.mark.extended
def test_popularity_of_the_day_is_counted_by_hand(evaluated: tuple[Path, dict[str, Any], str]) -> None:
    answer = evaluated[1]
    before = [like for like in WORLD if like.day < 0]
    likes = Counter(like.movie for like in before if like.stars >= 4)
    seen, later = defaultdict(set), defaultdict(set)
    for like in before:
        seen[like.user].add(like.movie)
    for like in WORLD:
        if 0 <= like.day < 7 and like.user in seen and like.movie != NEW_MOVIE:
            later[like.user].add(like.movie)
    found = []
    for user, wanted in later.items():
        unseen = sorted({like.movie for like in before} - seen[user], key=lambda movie: (-likes[movie], movie))
        found.append(len(wanted & set(unseen[:4])) / len(wanted))
    assert _row(answer, FIRST, 7, "popularity")["recall@4"] == pytest.approx(sum(found) / len(found))


@pytest.mark.extended
def test_both_tables_are_printed(evaluated: tuple[Path, dict[str, Any], str]) -> None:
    printed = evaluated[2]
    assert "NDCG@2 of its lists" in printed
    assert f"{SECOND}     7              0" in printed
    assert "All nights, 30 days: 33 lists of 17 users" in printed


@pytest.mark.extended
def test_a_past_night_is_that_of_the_source_as_it_was(
    evaluated: tuple[Path, dict[str, Any], str], spark: Any, tmp_path: Path
) -> None:
    """Nothing of the date or later is in its tables: they are those of a source that ends before the date."""
    _write(tmp_path / "source", [like for like in WORLD if like.day < 0])
    night = _night(tmp_path, spark)
    for stage in (clean_ratings, index_entities, write_triples):
        stage.run(night)
    for name in (RATINGS, MOVIES, TAGS, ENTITIES, TRIPLES):
        past, then = Manifest.read(_past(evaluated[0] / "lake") / name), Manifest.read(night.run.table(name))
        assert past is not None
        assert then is not None
        assert past.rows
        assert past.content == then.content, name


@pytest.mark.extended
@pytest.mark.parametrize("table", TIMED)
def test_a_planted_leak_is_found(
    evaluated: tuple[Path, dict[str, Any], str], spark: Any, tmp_path: Path, table: str
) -> None:
    shutil.copytree(evaluated[0] / "lake", tmp_path / "lake", ignore=shutil.ignore_patterns("later_likes"))
    folder = _past(tmp_path / "lake") / table
    file = next(path for path in sorted(folder.glob("*.parquet")) if pq.read_metadata(path).num_rows)
    rows = pq.read_table(file)
    place = rows.schema.get_field_index("timestamp")
    times = [_second(FIRST), *rows["timestamp"].to_pylist()[1:]]
    pq.write_table(rows.set_column(place, rows.schema.field(place), [times]), file)
    describe_again(folder)
    with pytest.raises(StageError, match=f"{table}: a row is of second {_second(FIRST)}, and the night of {FIRST}"):
        evaluate.run(_night(evaluated[0], spark, lake=tmp_path / "lake", dates=[FIRST]))


@pytest.mark.extended
def test_a_night_that_was_evaluated_is_up_to_date(evaluated: tuple[Path, dict[str, Any], str], spark: Any) -> None:
    folder, answer, _ = evaluated
    said: list[str] = []
    again = evaluate.run(_night(folder, spark, said.append))
    assert json.loads(json.dumps(again)) == answer
    stages = [line for line in said if line.startswith(("population", "train-embeddings", "recommend", "popularity"))]
    assert len(stages) == 8
    assert all("up to date" in line for line in stages)
    # Another baseline and other days train nothing, either.
    said.clear()
    other = evaluate.run(
        _night(folder, spark, said.append, dates=[FIRST], days=[7, 30], baselines=["markov-chain", "popularity"])
    )
    assert all(
        "up to date" in line for line in said if line.startswith(("train-embeddings", "recommend", "popularity"))
    )
    assert _row(other, FIRST, 7)["ndcg@2"] == _row(answer, FIRST, 7)["ndcg@2"]
    assert _row(other, FIRST, 7, "markov-chain")["recall@4"] > 0


@pytest.mark.extended
@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        (["2020-01-01"], r"2020-01-01 has no like before it; the ratings are from 2020-01-21 to 2020-05-30"),
        (["2020-04-01"], r"2020-04-01 has no like in the 30 days from it on"),
        (
            ["2020-05-01"],
            r"the 30 days from 2020-05-01 on are not all known; .*, so the latest date to evaluate is 2020-04-30",
        ),
    ],
)
def test_a_date_without_data_is_one_line(
    evaluated: tuple[Path, dict[str, Any], str], spark: Any, dates: list[str], expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected):
        evaluate.run(_night(evaluated[0], spark, dates=dates))


@pytest.mark.extended
def test_without_dates_the_latest_ones_are_taken(evaluated: tuple[Path, dict[str, Any], str], spark: Any) -> None:
    # The only one is 30 days before the last day of the ratings; the night before it is another 30 days earlier.
    with pytest.raises(ConfigError, match=r"2020-03-31 has no like"):
        evaluate.run(_night(evaluated[0], spark, dates=[], nights=2))


def test_nights_neither_tune_nor_serve_a_model(spark: Any, tmp_path: Path) -> None:
    night = _night(tmp_path, spark)
    with pytest.raises(ConfigError, match=r"evaluate.protocol: .* cannot choose settings"):
        tune.run(night)
    serving = night.settings.train.model_copy(update={"epochs": 0, "warm_start": "latest"})
    for protocol in ("nights", "random", "next"):
        asked = night.settings.evaluate.model_copy(update={"protocol": protocol})
        changes = {"train": serving, "evaluate": asked}
        with pytest.raises(ConfigError, match=rf"epochs=0 trains nothing, and evaluate.protocol={protocol}"):
            evaluate.run(night.variant(night.settings.model_copy(update=changes)))
