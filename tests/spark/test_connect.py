"""Nights on a server of Spark Connect, in clients that are processes of their own: a client's functions stay remote."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from connect_server import connect_server
from kgspark import redaction
from kgspark.errors import StageError
from kgspark.redaction import redact
from kgspark.spark.connect import connected, server_of
from kgspark.spark.settings import SessionSettings
from nights import configuration, small_sections, table_contents

pytest.importorskip("grpc", reason="the extra connect is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with connect_server(tmp_path_factory.mktemp("server")) as address:
        yield address


def _client(server: str, script: str, *arguments: Path) -> list[str]:
    """The lines that a client prints."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "SPARK_REMOTE": server},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


SESSION = """
import sys
from pathlib import Path
from kgspark.errors import ConfigError
from kgspark.spark import frames
from kgspark.spark.frames import map_files, read_table, rows_frame, write_table
from kgspark.spark.session import spark_session
from kgspark.spark.settings import SessionSettings
from kgspark.spark.sql_safety import tables_in_sql

folder = Path(sys.argv[1])
with spark_session(SessionSettings(), "client") as session:
    print(type(session).__module__, session.conf.get("spark.sql.session.timeZone"))
    written = write_table(rows_frame(session, [(i, f"n{i}") for i in range(50)], "a int, b string"), folder / "t")
    print(written.content, written.rows, read_table(session, folder / "t").where("a < 10").count())
    paths = [folder / f"{i}.txt" for i in range(7)]
    for i, path in enumerate(paths):
        path.write_bytes(b"x" * i)
    frames.READ_HERE = -1
    from kgspark.files import describe_file  # a function of the package that the client sends
    print([file.bytes for file in map_files(session, describe_file, paths)])
    print(map_files(session, lambda path: __import__("kgspark").__file__, paths[:1])[0])
    for text in ("abs(a) > 1", "a IN (SELECT a FROM own)", "java_method('java.lang.System', 'exit', 1)", "abs(a >"):
        try:
            print(tables_in_sql(session, "key", text, ["own"]))
        except ConfigError as error:
            print(error)
"""


@pytest.mark.extended
def test_a_session_on_a_server_reads_writes_and_checks_sql(server: str, tmp_path: Path, spark: object) -> None:
    from kgspark.spark.frames import rows_frame, write_table

    first, counted, sizes, sent, plain, table, refused, wrong = _client(server, SESSION, tmp_path)
    assert first == "pyspark.sql.connect.session UTC"
    here = write_table(rows_frame(spark, [(i, f"n{i}") for i in range(50)], "a int, b string"), tmp_path / "here")
    assert counted == f"{here.content} 50 10"
    assert json.loads(sizes) == list(range(7))
    assert "kgspark.zip" in sent
    assert (plain, table) == ("[]", "['own']")
    assert refused.startswith("key: java_method(java.lang.System, exit, 1) is not allowed; ")
    assert wrong.startswith("key: [PARSE_SYNTAX_ERROR]")


@pytest.mark.extended
def test_a_night_on_a_server_has_the_same_tables(server: str, small_night: Path, tmp_path: Path) -> None:
    script = "import sys; from kgspark.api import run; run(sys.argv[1], quiet=True)"
    conf = configuration(tmp_path, lake=str(tmp_path / "lake"), **small_sections(small_night / "source"))
    assert _client(server, script, conf) == []
    assert table_contents(tmp_path / "lake") == table_contents(small_night / "lake")


def test_a_server_that_cannot_be_reached_is_one_line_at_once() -> None:
    unreachable = connected("sc://127.0.0.1:1/;token=t0k-of-a-test", SessionSettings(), "test")
    with pytest.raises(StageError, match=r"^sc://127\.0\.0\.1:1: no Spark Connect server can be reached: [^;]*; start"):
        unreachable.__enter__()
    assert redact("my t0k-of-a-test") == "my ***"
    redaction._values.discard("t0k-of-a-test")


def test_the_environment_names_the_server_before_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SessionSettings(master="sc://one:15002")
    monkeypatch.delenv("SPARK_REMOTE", raising=False)
    assert server_of(settings) == "sc://one:15002"
    assert server_of(SessionSettings(master="local[2]")) is None
    monkeypatch.setenv("SPARK_REMOTE", "sc://two")
    assert server_of(settings) == "sc://two"
    with pytest.raises(ValidationError, match="a token is a secret; leave it out here"):
        SessionSettings(master="sc://one:443/;use_ssl=true;token=abc")
