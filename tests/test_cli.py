"""The command line: names, help, settings, logs and one line per error. Whole commands run in tests/stages."""

import json
import logging
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from kgspark.cli import main
from kgspark.cli.commands import COMMANDS
from kgspark.cli.logs import configure_logs
from kgspark.cli.settings import find
from kgspark.errors import ConfigError, InputError
from kgspark.logs import STAGE
from kgspark.manifests import Manifest
from kgspark.runs import Run
from kgspark.settings_docs.keys import night
from nights import DATE, ROOT, configuration


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]):
    """Runs a command line; returns exit code, standard output and standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        return code, *capsys.readouterr()

    return run


def test_the_version(printed) -> None:
    assert printed("--version") == (0, "kgspark 0.1.0\n", "")


def test_help_lists_every_command_and_the_variables(printed) -> None:
    code, out, _ = printed("--help")
    assert code == 0
    assert all(name in out for name in (*COMMANDS, "settings", "--install-completion", "KGSPARK_TRACE"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["recomend", "x.yaml"], "No such command 'recomend'. Did you mean 'recommend'?"),
        (["train_embedings", "x"], "No such command 'train_embedings'. Did you mean 'train-embeddings'?"),
        (["nightly"], "Missing argument 'CONF'."),
        (["nightly", "--fast", "x.yaml"], "No such option: --fast"),
        (["nightly", "x.yaml", "--log=xml"], "Invalid value for --log: expected plain or json, found 'xml'"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(printed, arguments: list[str], message: str) -> None:
    assert printed(*arguments) == (2, "", f"kgspark: error: {message}\n")


@pytest.mark.parametrize("stage", ["write-triples", "write_triples"])
def test_dashes_and_underscores_are_the_same(printed, stage: str) -> None:
    code, out, error = printed(stage, "missing.yaml")
    assert (code, out) == (2, "")
    assert (
        error == "kgspark: error: missing.yaml: no such configuration file; kgspark init writes one for your tables\n"
    )


def test_every_command_has_its_module_and_its_sections() -> None:
    sections = {part.dotted for part in night().parts}
    for name, command in COMMANDS.items():
        assert find_spec(command.module), name
        assert set(command.sections) <= sections, name
        assert command.help[0].isupper()
        assert command.help.endswith(".")


def test_the_help_of_a_command_lists_its_settings(printed) -> None:
    _, out, _ = printed("recommend", "--help")
    assert all(key in out for key in ("recommend.k ", "recommend.index.kind", "candidates.where", "audiences.enabled"))
    assert "train.dim" not in out
    _, outline, _ = printed("nightly", "--help")
    assert all(section.dotted in outline for section in night().parts)


def test_a_setting_is_printed_with_type_default_and_meaning(printed) -> None:
    code, out, _ = printed("settings", "train.temperature")
    assert code == 0
    assert "scores are divided by it (softmax, bpr)" in out
    assert "type     number > 0, or null" in out
    assert "default  null" in out
    assert "rotate: 14.0" in out


def test_settings_as_json(printed) -> None:
    _, out, _ = printed("--json", "settings", "audiences")
    assert json.loads(out) == [
        {"key": "audiences.enabled", "type": "true or false", "default": True, "meaning": "write the table audiences"},
        {"key": "audiences.k", "type": "integer ≥ 1", "default": 100, "meaning": "users listed for each movie"},
    ]
    _, everything, _ = printed("settings", "--json")
    assert len(json.loads(everything)) == len(list(night().all_keys()))


def test_the_settings_of_generate_and_an_outline(printed) -> None:
    assert "ratings" in printed("settings", "generate")[1]
    assert "The Spark session." in printed("settings")[1]
    assert "topk" in printed("settings", "bench")[1]


@pytest.mark.parametrize(
    ("name", "dotted"),
    [
        ("relations.liked.where", "relations.NAME.where"),
        ("relations.liked.head.kind", "relations.NAME.head.kind"),
        ("source.tables.facts.path", "source.tables.NAME.path"),
        ("relations", "relations"),
        ("train.validation", "train.validation"),
    ],
)
def test_names_of_ones_own_are_found(name: str, dotted: str) -> None:
    assert find(name).dotted == dotted


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("train.dmi", "did you mean 'train.dim'?"),
        ("beat_popularity", "did you mean 'publish.beat_popularity'?"),
        ("train.eval_every", "renamed; write train.validation.every"),
        ("xyz.uvw", "kgspark settings lists all sections"),
    ],
)
def test_the_error_for_an_unknown_setting_suggests_the_nearest(name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=name) as told:
        find(name)
    assert says in str(told.value)


def test_json_lines_tell_time_level_stage_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json", sys.stdout, "nightly")
    log = logging.getLogger("kgspark.somewhere")
    log.info("a line of 100%")
    STAGE.set("publish")
    log.warning("another")
    out, error = capsys.readouterr()
    lines = [json.loads(line) for line in error.splitlines()]
    assert out == ""
    assert [(line["level"], line["stage"], line["message"]) for line in lines] == [
        ("info", "nightly", "a line of 100%"),
        ("warning", "publish", "another"),
    ]
    assert all(line["time"].endswith("+00:00") for line in lines)


def test_plain_lines_are_as_they_were_said(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("plain", sys.stdout)
    logging.getLogger("kgspark").info("recommend          1.2 s   {lists}")
    logging.getLogger("kgspark.spark").warning("slow")
    assert capsys.readouterr() == ("recommend          1.2 s   {lists}\n", "kgspark: warning: slow\n")


def test_an_error_is_a_json_line_too(printed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KGSPARK_LOG", "json")
    code, out, error = printed("publish", "missing.yaml")
    assert (code, out) == (2, "")
    assert json.loads(error)["stage"] == "publish"
    assert json.loads(error)["message"].startswith("missing.yaml: no such configuration file")


def test_characters_that_the_output_does_not_know_are_replaced() -> None:
    command = [sys.executable, "-m", "kgspark.cli", "settings", "audiences.k"]
    for json_option in ([], ["--json"]):
        done = subprocess.run(
            [*command, *json_option],
            env=os.environ | {"PYTHONIOENCODING": "ascii"},
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
        assert done.stderr == b""
        assert (json.loads(done.stdout)[0]["type"] == "integer ≥ 1") if json_option else (b"integer ? 1" in done.stdout)


def test_another_process_on_the_same_night_is_exit_code_75(printed, tmp_path: Path) -> None:
    conf = configuration(tmp_path, lake=str(tmp_path / "lake"), source={"path": "x"})
    with Run(tmp_path / "lake", DATE).locked():
        code, _, error = printed("publish", str(conf))
    assert code == 75
    assert "another kgspark process is working on this night; wait for it or stop it" in error


def test_a_password_in_an_address_is_not_repeated(printed, tmp_path: Path) -> None:
    conf = configuration(tmp_path, lake=str(tmp_path / "lake"), source={"path": "jdbc:postgresql://bob:hunter2@db/x"})
    code, out, error = printed("clean-ratings", str(conf))
    assert code == InputError.code == 65
    assert "hunter2" not in out + error
    assert "bob:***@db" in error.replace("jdbc:postgresql:/b", "jdbc:postgresql://b")


def test_the_latest_night_is_found_or_missed_in_one_line(printed, tmp_path: Path) -> None:
    conf = configuration(tmp_path, lake=str(tmp_path / "lake"), source={"path": "x"}, run_date="latest")
    _, _, error = printed("publish", str(conf))
    assert f"run_date: expected a night in {tmp_path}/lake/runs; there is none, found 'latest'" in error
    for date in ("2026-01-03", "2025-12-31", "not-a-date", "2026-01-1x"):
        table = tmp_path / "lake" / "runs" / date / "ratings"
        table.mkdir(parents=True)
        Manifest("ratings", "", "", {}, {}, []).write(table)
    (tmp_path / "lake" / "runs" / "2026-01-04").mkdir()  # a night that failed before its first table
    _, _, error = printed("publish", str(conf))
    assert "/runs/2026-01-03: " in error


def test_a_reader_that_has_gone_away_is_exit_code_1() -> None:
    command = f"{sys.executable} -m kgspark.cli settings | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1)  # 0 if everything was written before the reader closed
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments", [["--help"], ["settings", "train"], ["recommend", "--help"], ["nightly", "no.yaml"]]
)
def test_no_engine_is_imported_before_it_is_needed(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; from kgspark.cli import main; main(sys.argv[1:]);"
        "sys.exit(bool({'torch', 'pyspark', 'faiss', 'tgraphx', 'optuna'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, *arguments]
    assert subprocess.run(command, capture_output=True, cwd=tmp_path, check=False).returncode == 0
