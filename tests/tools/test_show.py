"""`kgspark show`, `explain` and `similar`: pages for people, JSON, titles, and no JVM."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from kgspark.answers.recommender import Recommender
from kgspark.api import run
from kgspark.cli import main
from kgspark.errors import ConfigError
from nights import DATE, configuration


@pytest.fixture
def conf(tmp_path: Path, small_night: Path) -> Path:
    """Without run_date: the newest published night answers."""
    path = configuration(tmp_path, lake=str(small_night / "lake"), source={"path": "nowhere"})
    path.write_text(path.read_text().replace(f"run_date: '{DATE}'\n", ""), encoding="utf-8")
    assert "run_date" not in path.read_text()
    return path


@pytest.fixture(scope="module")
def recommender(small_night: Path) -> Recommender:
    return Recommender.load(small_night / "lake", "arrow")


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(each) for each in arguments]) == 0
    return capsys.readouterr().out


def test_show_has_history_and_list(
    conf: Path, recommender: Recommender, small_night: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    user = recommender.user_ids[3].item()
    page, answer = printed(capsys, "show", conf, user), json.loads(printed(capsys, "show", "--json", conf, user))
    table = pq.read_table(small_night / "lake" / "warehouse" / "recommendations" / f"ds={DATE}", partitioning=None)
    rows = [row for row in table.sort_by("rank").to_pylist() if row["user_id"] == user]
    assert answer["user_id"] == user
    assert [row["movie_id"] for row in answer["list"]] == [row["movie_id"] for row in rows]
    assert [row["score"] for row in answer["list"]] == [row["score"] for row in rows]
    assert len(answer["history"]) == 5
    assert answer["history"] == sorted(answer["history"], key=lambda row: -row["timestamp"])
    lines = page.splitlines()
    assert lines[0] == f"user {user}"
    assert "5 ratings, the latest first" in lines[1]
    assert f"the list of {DATE}" in lines[1]
    assert answer["history"][0]["title"] in lines[2]
    assert f"  1. {answer['list'][0]['title']}" in lines[2]
    assert f"because of {answer['list'][0]['reason_title']}" in lines[3]


def test_explain_takes_the_first_of_the_list_or_a_title_of_several_words(
    conf: Path, recommender: Recommender, capsys: pytest.CaptureFixture[str]
) -> None:
    user = recommender.user_ids[3].item()
    first = recommender.recommend([user], 2)["movie_id"].to_pylist()
    assert json.loads(printed(capsys, "explain", conf, user, "--json"))["movie"] == first[0]
    title = recommender.title(first[1])
    answer = json.loads(printed(capsys, "explain", "--json", conf, user, *title.split()))
    assert (answer["movie"], answer["rank"], answer["night"]) == (first[1], 2, DATE)
    text = printed(capsys, "explain", conf, user, first[1])
    assert text.startswith(f"{title} for user {user}: rank 2, score {answer['score']:.4f} (model)\n")
    assert "both has_genre Drama, has_genre Comedy" in text or "both has_genre Comedy, has_genre Drama" in text
    shown = [line.split()[0] for line in text.splitlines()[3:] if not line.strip().startswith("both")]
    assert sum(map(float, shown[:-1])) == pytest.approx(float(shown[-1]), abs=1e-3)


def test_similar_by_the_beginning_of_a_title(
    conf: Path, recommender: Recommender, capsys: pytest.CaptureFixture[str]
) -> None:
    movie = recommender.item_ids[2].item()
    plain = str(recommender.title(movie)).partition(" (")[0]
    answer = json.loads(printed(capsys, "similar", "--json", conf, *plain.split()))
    assert answer["movie_id"] == movie
    expected = recommender.similar_items(movie)["similar_movie_id"].to_pylist()
    assert [row["similar_movie_id"] for row in answer["list"]] == expected
    text = printed(capsys, "similar", conf, movie)
    assert text.splitlines()[2].endswith(str(recommender.title(expected[0])))


def test_the_commands_start_no_engine_but_faiss(conf: Path, recommender: Recommender) -> None:
    user = recommender.user_ids[0].item()
    code = (
        "import sys; from kgspark.cli import main; "
        f"codes = [main([name, {str(conf)!r}, *words]) for name, *words in "
        f"[('show', '{user}'), ('explain', '{user}'), ('similar', '{recommender.item_ids[0]}'), ('nights',)]]; "
        "loaded = {'pyspark', 'py4j', 'torch', 'tgraphx'} & set(sys.modules); sys.exit(str(loaded or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
    assert "rank 1" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["show", "CONF"], "command line: expected USER after CONF"),
        (["similar", "CONF"], "command line: expected MOVIE after CONF"),
        (["show", "CONF", "nobody"], f"no user nobody in the night of {DATE}"),
        (["show", "CONF", "1", "run_date=2020-01-01"], "no night of 2020-01-01 here"),
        (["similar", "CONF", "a = b"], f"no movie 'a = b' in the night of {DATE}"),
        (["similar", "CONF", "x", "trian.dim=3"], "trian: unknown key; did you mean 'train'?"),
    ],
)
def test_what_is_wrong_is_one_line(
    conf: Path, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(conf) if each == "CONF" else each for each in arguments]) in (2, 65, 66)
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_a_night_whose_own_tables_were_removed(conf: Path, small_night: Path, tmp_path: Path) -> None:
    shutil.copytree(small_night / "lake" / "warehouse", tmp_path / "lake" / "warehouse")
    with pytest.raises(Exception, match=f"removed; only the published tables of {DATE} are left"):
        run(conf, "1", f"lake={tmp_path / 'lake'}", command="show", quiet=True)


def test_the_words_of_a_question_from_python(conf: Path, recommender: Recommender) -> None:
    user = recommender.user_ids[0].item()
    answer = run(conf, str(user), command="show", quiet=True)
    assert isinstance(answer, dict)
    assert answer["user_id"] == user
    with pytest.raises(ConfigError, match="expected USER after CONF"):
        run(conf, command="show", quiet=True)
