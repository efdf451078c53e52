"""Every command, configuration and query that README and the pages show, tried on a part of the bundled data.

The commands run in a scratch folder that looks like a checkout: with `conf/` and `jobs/`, and with small files under
the names that the pages use. So they run unchanged, followed by settings that keep them short. Commands that need a
cluster, or minutes, are not run, for reasons given here, but their settings are checked.
"""

import csv
import re
import tomllib
from collections.abc import Callable, Iterable
from importlib.metadata import entry_points
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from kgspark import config
from kgspark.bench import run as bench
from kgspark.datasets.movielens import DATA_SETS
from kgspark.experiments.generate import GenerateSettings
from kgspark.night.settings import NightSettings
from nights import BUNDLED, DATE, ROOT, kgspark
from pages import Block, Command, blocks, commands

pytestmark = pytest.mark.slow

# Settings of every night: a few seconds instead of a good model.
SHORT = (f"run_date={DATE}", "train.epochs=1", "train.dim=16", "publish.beat_popularity=false", "spark.master=local[2]")
# A page reads the vectors of the bundled night.
VECTORS = ("vectors.enabled=true",)
SHORTER = {"evaluate": ("evaluate.baselines=[popularity]",), "generate": ("ratings=2000", "users=60", "movies=80")}

BUNDLED_CONF = "conf/ml-latest-small.yaml"
# The ratings of the first users are enough.
USERS = 40

# Text that a reader replaces by hand, and its replacement in these tests.
STAND_INS = {"PATH/TO/ml-1m": "ml-1m", "PATH/TO/facts.csv": "facts.csv", "LAKE/runs/DATE": f"lake/runs/{DATE}"}

# Commands that are checked but not run: (pattern of the command, reason).
NOT_RUN = (
    (r"kgspark fetch ", "downloads from GroupLens; tests/datasets fetches from a server on this machine"),
    (r"nightly example/", "the bundled night again; tests/datasets runs it from the wheel"),
    (r"kgspark bench ", "takes minutes; `make test-extended` runs every benchmark on little data"),
    (r"kgspark tune ", "trains 40 times; tests/experiments/test_tune.py runs a small search"),
    (r"evaluate\.protocol=", "trains once per seed; tests/experiments/test_evaluate.py runs every protocol"),
    (r"spark://HOST|/mnt/", "needs a cluster; tests/stages/test_same_bytes.py submits a night to a small one"),
    (r"--install-completion", "changes the reader's shell; the help must name it"),
    (r"train\.epochs=0", "serves an earlier night's model; tests/stages/test_serving.py makes both nights"),
    (r"data/ml-32m", "32 million ratings"),
    (r"nightly conf/tutorial", "a whole night of another recipe; tests/night/test_conf.py reads the file"),
    (r"nightly conf/ml-1m", "the README's night on other files; tests/spark/cleaning reads every dialect"),
    (r"spark-submit", "starts another JVM; tests/stages/test_same_bytes.py submits the jobs"),
    (r"train\.model=|train\.dim=|split\.protocol=", "a variant of the same night; tests of the stages train them"),
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the pages' commands run."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("conf", "jobs"):
        (folder / name).symlink_to(ROOT / name)
    ratings, movies = _some_ratings()
    _write_bundled(folder / "tests" / "data" / "ml-latest-small", ratings, movies)
    _write_ml_1m(folder / "ml-1m", ratings, movies)
    _write_own(folder, ratings, movies)
    _write_lists(folder)
    for block in blocks("yaml"):
        if name := _file_name(block):
            (folder / name).write_text(block.text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(checkout: Path) -> Callable[[list[str]], str]:
    """Runs `kgspark` in the checkout; returns its output, and fails if the command fails."""
    printed: dict[tuple[str, ...], str] = {}

    def command(arguments: list[str]) -> str:
        if tuple(arguments) not in printed:  # pages repeat commands
            done = kgspark(*arguments, folder=checkout)
            assert done.returncode == 0, done.stderr
            printed[tuple(arguments)] = done.stdout
        return printed[tuple(arguments)]

    return command


@pytest.fixture(scope="module")
def night(run: Callable[[list[str]], str]) -> None:
    """The README's night, which the other commands and the queries read."""
    run(["nightly", BUNDLED_CONF, *SHORT, *VECTORS])


Rows = list[dict[str, str]]


def _some_ratings() -> tuple[Rows, Rows]:
    """The bundled ratings of the first users, and the movies rated by them."""
    ratings = [row for row in _rows("ratings.csv") if int(row["userId"]) <= USERS]
    rated = {row["movieId"] for row in ratings}
    return ratings, [row for row in _rows("movies.csv") if row["movieId"] in rated]


def _rows(name: str) -> Rows:
    with open(BUNDLED / name, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _write_csv(path: Path, header: str, rows: Iterable[Iterable[str]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header.split(","))
        writer.writerows(rows)


def _write_bundled(folder: Path, ratings: Rows, movies: Rows) -> None:
    folder.mkdir(parents=True)
    for name, rows in (("ratings.csv", ratings), ("movies.csv", movies)):
        _write_csv(folder / name, ",".join(rows[0]), (row.values() for row in rows))


def _write_ml_1m(folder: Path, ratings: Rows, movies: Rows) -> None:
    """The files of ML-1M; without users, because the half stars are ML-10M's."""
    folder.mkdir()
    for name, rows in (("ratings.dat", ratings), ("movies.dat", movies)):
        (folder / name).write_text("".join("::".join(row.values()) + "\n" for row in rows), encoding="utf-8")


def _write_own(folder: Path, ratings: Rows, movies: Rows) -> None:
    """Ratings with text ids and other column names, as README describes them."""
    own = [
        (f"m{r['userId']}", f"f{r['movieId']}", r["rating"], r["timestamp"]) for r in ratings if r["rating"] != "0.5"
    ]
    _write_csv(folder / "ratings.csv", "member,film,stars,at", own)
    _write_csv(
        folder / "films.csv", "film,name,genres", ((f"f{r['movieId']}", r["title"], r["genres"]) for r in movies)
    )


def _write_lists(folder: Path) -> None:
    """The further tables that the pages name."""
    _write_csv(folder / "facts.csv", "movieId,relation,value", [("1", "directed_by_director", "John Lasseter")])
    _write_csv(folder / "blocked.csv", "movie_id,why", [("2", "a test")])
    _write_csv(folder / "subscribers.csv", "user_id,country", [("1", "fr")])
    pq.write_table(pa.table({"movie_id": [1, 3], "country": ["fr", "fr"]}), folder / "rights.parquet")


def _file_name(block: Block) -> str | None:
    """The name in the first line of a YAML block, such as `# own.yaml`."""
    found = re.match(r"# (\S+\.yaml)\n", block.text)
    return found[1] if found else None


def _filled_in(text: str) -> str:
    for stand_in, name in STAND_INS.items():
        text = text.replace(stand_in, name)
    return text


def _reason_not_to_run(command: Command) -> str | None:
    line = str(command)
    return next((reason for pattern, reason in NOT_RUN if re.search(pattern, line)), None)


COMMANDS = commands()


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_every_command_runs_or_is_checked(command: Command, checkout: Path, request: pytest.FixtureRequest) -> None:
    check = PROGRAMS.get(command.program)
    assert check, f"{command}: no check for {command.program}; add one to PROGRAMS"
    words = [_filled_in(word) for word in command.words[1:]]
    if words == ["--install-completion"]:
        assert words[0] in request.getfixturevalue("run")(["--help"])
        return
    if command.program != "kgspark" or _reason_not_to_run(command):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(checkout)
            check(words)
        return
    run = request.getfixturevalue("run")
    request.getfixturevalue("night")
    run([*words, *_short(words)])


def _short(words: list[str]) -> tuple[str, ...]:
    """Settings that keep a command short."""
    stage, subject = (*_positional(words), "", "")[:2]
    if stage in ("", "settings", "init", "example", "doctor", "config"):
        return ()
    if stage == "generate":
        return SHORTER[stage]
    # Nights of other ratings must not replace the night that is read afterwards.
    own = VECTORS if subject == BUNDLED_CONF else (f"lake=lake-of-{Path(subject).stem}",)
    return (*SHORT, *SHORTER.get(stage, ()), *own)


def _positional(words: list[str]) -> list[str]:
    """The words that are neither an option nor an option's value."""
    return [word for at, word in enumerate(words) if not word.startswith("--") and words[max(at - 1, 0)] != "--log"]


def _check_kgspark(words: list[str]) -> None:
    """A command that is not run: its settings are decoded."""
    stage, subject, *overrides = _positional(words)
    if stage == "bench":
        config.from_overrides(bench.load(subject).SETTINGS, overrides)
    elif stage == "generate":
        config.from_overrides(GenerateSettings, overrides)
    elif stage == "fetch":
        assert subject in DATA_SETS
    elif subject.startswith("example/"):
        assert subject == f"example/{BUNDLED.name}.yaml"
    else:
        config.load(NightSettings, Path(subject), overrides)


def _check_submit(words: list[str]) -> None:
    job = next(at for at, word in enumerate(words) if word.startswith("jobs/"))
    assert Path(words[job]).is_file()
    _check_kgspark([Path(words[job]).stem, *words[job + 1 :]])


def _check_make(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words:
        name, equals, _ = word.partition("=")
        assert re.search(rf"^{name} [?:]=" if equals else rf"^{name}:", makefile, re.MULTILINE), word


def _check_pip(words: list[str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for word in words:
        for asked in re.findall(r"\[([\w,]+)\]", word):
            assert set(asked.split(",")) <= set(extras)


def _check_paths(words: list[str]) -> None:
    for word in words:
        assert (ROOT / word).exists(), word


def _check_dashboard(words: list[str]) -> None:
    assert "tgraphx-dashboard" in {script.name for script in entry_points(group="console_scripts")}
    assert words == ["--logdir", f"lake/runs/{DATE}/training"]


def _check_cd(words: list[str]) -> None:
    assert words == ["/srv/kgspark"]


PROGRAMS: dict[str, Callable[[list[str]], None]] = {
    "kgspark": _check_kgspark,
    "spark-submit": _check_submit,
    "make": _check_make,
    "pip": _check_pip,
    "pytest": _check_paths,
    "tgraphx-dashboard": _check_dashboard,
    "cd": _check_cd,
}


def test_every_reason_is_needed() -> None:
    for pattern, reason in NOT_RUN:
        assert any(re.search(pattern, str(command)) for command in COMMANDS), reason


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_every_configuration_loads(block: Block, tmp_path: Path) -> None:
    below = {"source": {"path": str(BUNDLED)}}
    text = yaml.safe_dump(config.merged(below, yaml.safe_load(block.text)))
    (tmp_path / "conf.yaml").write_text(text, encoding="utf-8")
    config.load(NightSettings, tmp_path / "conf.yaml")


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_every_python_block_runs(block: Block, checkout: Path, night: None, monkeypatch: pytest.MonkeyPatch) -> None:
    code = compile(block.text, str(block), "exec")
    if "airflow" not in block.text:  # a scheduler is not installed for this; its command is checked above
        monkeypatch.chdir(checkout)
        exec(code, {})


@pytest.mark.parametrize("block", blocks("sql"), ids=str)
def test_every_query_finds_its_tables(
    block: Block, checkout: Path, night: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkout)
    rows = duckdb.sql(block.text).fetchall()
    assert rows or "quarantine" in block.text  # the bundled data has no bad line
