"""What other programs are told about a night, and that none of them can stop it."""

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prometheus_client.parser import text_string_to_metric_families

from kgspark import run_figures
from kgspark.cli.observed import observed
from kgspark.errors import AuditError, InputError
from kgspark.files import TableFiles, describe_folder
from kgspark.night.night import Night
from kgspark.observers.observer import Observer, Observers
from kgspark.runs import Run, StageWork
from kgspark.tables import ENTITIES, RATINGS
from nights import DATE, a_night

LINES = {"ratings": {"kept": 7, "superseded": 2, "quarantined": {"no_rating": 3}}}


def clean(night: Night) -> None:
    """A stage that writes seven ratings."""

    def act(night: Night, work: StageWork) -> None:
        folder = work.begin()[RATINGS]
        folder.mkdir()
        pq.write_table(pa.table({"user_id": range(7), "rating": [4.0] * 7}), folder / "part-0.parquet")
        work.commit({RATINGS: TableFiles(describe_folder(folder))}, {RATINGS: {"accounts": LINES}})

    work = StageWork.plan(night.run, "clean-ratings", writes=(RATINGS,), settings={})
    night.stage(work, act, lambda night: "seven ratings")


def fail(night: Night) -> None:
    """A stage that reads the ratings and fails."""
    clean(night)

    def act(night: Night, work: StageWork) -> None:
        raise InputError("ratings.csv:3: a bad line; password=hunter2")

    work = StageWork.plan(night.run, "index-entities", reads=(RATINGS,), writes=(ENTITIES,), settings={})
    night.stage(work, act, lambda night: "")


@pytest.fixture
def night(tmp_path: Path) -> Night:
    observe = {"prometheus": str(tmp_path / "metrics" / "kgspark.prom")}
    return a_night(tmp_path / "lake", source={"path": "/data/in"}, observe=observe)


@pytest.fixture
def events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """The events of OpenLineage so far, which its client posts to a server on loopback."""
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(201)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        transport = {"type": "http", "url": f"http://127.0.0.1:{server.server_port}"}
        monkeypatch.setenv("OPENLINEAGE__TRANSPORT", json.dumps(transport))
        yield received
        server.shutdown()


@pytest.fixture(autouse=True)
def _log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings go to pytest, not to the output of a command of another test."""
    monkeypatch.setattr(logging.getLogger("kgspark"), "handlers", [])
    monkeypatch.setattr(logging.getLogger("kgspark"), "propagate", True)


def samples(path: Path) -> dict[tuple[str, tuple[str, ...]], float]:
    """Name and label values, by the labels' names, of each figure in a file of Prometheus, read by its own parser."""
    families = text_string_to_metric_families(path.read_text())
    return {(it.name, tuple(it.labels.values())): it.value for family in families for it in family.samples}


def test_openlineage_has_a_run_per_stage_that_works_inside_the_run_of_the_night(
    night: Night, events: list[dict[str, Any]]
) -> None:
    with observed(night, "nightly"):
        clean(night)
        clean(night)  # is current, so it is no run
    told = [(event["eventType"], event["job"]["name"]) for event in events]
    stage = "nightly.clean-ratings"
    assert told == [("START", "nightly"), ("START", stage), ("COMPLETE", stage), ("COMPLETE", "nightly")]
    start, complete = events[1:3]
    assert start["run"]["runId"] == complete["run"]["runId"] != events[0]["run"]["runId"]
    assert complete["run"]["facets"]["parent"]["run"]["runId"] == events[0]["run"]["runId"]
    assert [(it["namespace"], it["name"]) for it in complete["inputs"]] == [("file", "/data/in")]
    (output,) = complete["outputs"]
    assert (output["namespace"], output["name"]) == ("file", str(night.run.place(RATINGS)))
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 7
    assert [field["name"] for field in output["facets"]["schema"]["fields"]] == ["user_id", "rating"]
    assert events[0]["run"]["facets"]["nominalTime"]["nominalStartTime"].startswith(DATE)


def test_a_stage_that_fails_is_told_with_its_line_and_without_secrets(
    night: Night, events: list[dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(InputError), observed(night, "nightly"):
        fail(night)
    failed = [event for event in events if event["eventType"] == "FAIL"]
    assert [event["job"]["name"] for event in failed] == ["nightly.index-entities", "nightly"]
    assert "a bad line" in failed[0]["run"]["facets"]["errorMessage"]["message"]
    assert "hunter2" not in json.dumps(events)
    assert samples(tmp_path / "metrics" / "kgspark.prom")["kgspark_command_exit_code", ()] == InputError.code


def test_prometheus_gets_lines_rows_and_seconds(night: Night, tmp_path: Path) -> None:
    with observed(night, "nightly"):
        clean(night)
    found = samples(tmp_path / "metrics" / "kgspark.prom")
    states = {state: found["kgspark_source_lines", (state, "ratings")] for state in ("kept", "superseded", "no_rating")}
    assert states == {"kept": 7, "superseded": 2, "no_rating": 3}
    assert found["kgspark_table_rows", ("ratings",)] == 7
    assert found["kgspark_stage_ran", ("clean-ratings",)] == 1
    assert found["kgspark_command_seconds", ()] >= found["kgspark_stage_seconds", ("clean-ratings",)] > 0
    assert ("kgspark_published_timestamp_seconds", (DATE,)) not in found


def test_prometheus_gets_quality_audit_and_publication(small_night: Path, tmp_path: Path) -> None:
    lake = small_night / "lake"
    (date,) = (path.name for path in (lake / "runs").iterdir())
    night = a_night(lake, source={"path": "x"}, run_date=date, observe={"prometheus": str(tmp_path / "k.prom")})
    with pytest.raises(AuditError), observed(night, "publish"):
        raise AuditError("nothing is published")
    found, run = samples(tmp_path / "k.prom"), Run(lake, date)
    assert found["kgspark_quality", ("ndcg@10", "model")] == run_figures.quality(run)["model", "ndcg@10"] > 0
    assert found["kgspark_audit_checks", ("passed",)] == run_figures.audit_counts(run)["passed"] > 20
    assert found["kgspark_night_info", ("publish", run_figures.model_id(run), date)] == 1
    published = run_figures.last_published(run)
    assert published is not None
    assert found["kgspark_published_timestamp_seconds", (date,)] == published[1] > 1.7e9
    assert found["kgspark_command_exit_code", ()] == 3


def test_an_observer_that_fails_is_one_warning_and_told_nothing_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Observer):
        name = "a server"

        def stage_began(self, work: StageWork) -> None:
            raise OSError("it does\nnot answer")

    night = a_night(tmp_path, source={"path": "x"})
    night.observers = Observers([Broken()])
    clean(night)
    assert night.outcomes[0].ran
    assert caplog.messages == ["a server: it does not answer; the night goes on, and it is told nothing more"]
    assert night.observers.told == []


def test_a_file_that_cannot_be_written_does_not_stop_the_night(tmp_path: Path) -> None:
    (tmp_path / "full").write_text("no folder")
    night = a_night(tmp_path, source={"path": "x"}, observe={"prometheus": str(tmp_path / "full" / "k.prom")})
    with observed(night, "nightly"):
        clean(night)
    assert night.outcomes[0].ran


def test_a_lineage_server_that_is_away_does_not_stop_the_night(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    transport = {"type": "http", "url": "http://127.0.0.1:9", "retry": {"total": 0}}
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT", json.dumps(transport))
    with observed(night, "nightly"):
        clean(night)
    assert night.outcomes[0].ran
