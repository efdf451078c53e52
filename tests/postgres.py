"""A real PostgreSQL server for tests, on the loopback device, in a temporary folder of its own."""

import csv
import io
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

# Debian's packages `postgresql` and `libpostgresql-jdbc-java`, which the set-up of the tests installs.
JDBC_JAR = Path("/usr/share/java/postgresql.jar")
JDBC_DRIVER = "org.postgresql.Driver"
_PROGRAMS = "/usr/lib/postgresql/*/bin"
_START_SECONDS = 60
_NULL = "\\N"
# A test's data need not survive a crash of the machine.
_OPTIONS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=16MB", "timezone=UTC")


@dataclass(frozen=True)
class Postgres:
    """A running server with one user and one database, which belongs to the user.

    programs  the folder of PostgreSQL's programs
    """

    programs: Path
    port: int
    host: str = "127.0.0.1"
    user: str = "shop"
    password: str = "open-Sesame-42"
    database: str = "shop"

    @property
    def jdbc_url(self) -> str:
        """The address for JDBC, without user and password."""
        return f"jdbc:postgresql://{self.host}:{self.port}/{self.database}"

    @property
    def uri(self) -> str:
        """The address for libpq and ADBC, with user and password."""
        return f"postgresql://{self.user}:{self.password}@{self.host}:{self.port}/{self.database}"

    def execute(self, sql: str) -> list[tuple[str | None, ...]]:
        """Runs statements in one transaction, and returns the rows of a query, as texts or None."""
        command = [self.programs / "psql", "--no-psqlrc", "--quiet", "--csv", "--tuples-only", f"--pset=null={_NULL}"]
        done = subprocess.run(
            [*command, "--set=ON_ERROR_STOP=1", "--single-transaction", f"--dbname={self.uri}", "--file=-"],
            input=sql, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        rows = csv.reader(io.StringIO(done.stdout))
        return [tuple(None if value == _NULL else value for value in row) for row in rows]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server for all tests of this process; they are skipped if PostgreSQL is not installed."""
    programs = [folder for folder in sorted(Path("/").glob(_PROGRAMS[1:])) if (folder / "postgres").exists()]
    if not programs:
        pytest.skip("needs PostgreSQL: apt-get install postgresql libpostgresql-jdbc-java")
    folder = Path(tempfile.mkdtemp(prefix="kgspark-postgres-"))
    try:
        yield from _serve(Postgres(programs[-1], _free_port()), folder)
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def jdbc_jar() -> Path:
    """PostgreSQL's JDBC driver; tests are skipped without it."""
    if not JDBC_JAR.exists():
        pytest.skip("needs PostgreSQL's JDBC driver: apt-get install libpostgresql-jdbc-java")
    return JDBC_JAR


def _serve(server: Postgres, folder: Path) -> Iterator[Postgres]:
    password, log = folder / "password", folder / "log"
    password.write_text(server.password)
    as_user = _as_user(folder)
    initdb = (server.programs / "initdb", "--no-sync", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256")
    subprocess.run(
        [*as_user, *initdb, f"--username={server.user}", f"--pwfile={password}", f"--pgdata={folder / 'data'}"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    options = [f"-c{option}" for option in (*_OPTIONS, f"listen_addresses={server.host}", f"port={server.port}")]
    program = (server.programs / "postgres", "-D", folder / "data", "-k", folder, *options)
    with log.open("wb") as output:
        process = subprocess.Popen([*as_user, *program], cwd=folder, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait(server, process, log)
        subprocess.run([server.programs / "createdb", f"--maintenance-db={server.uri[: -len(server.database)]}postgres",
                        server.database], check=True, capture_output=True)  # fmt: skip
        yield server
    finally:
        process.send_signal(signal.SIGINT)  # it closes the connections, and ends
        process.wait()


def _as_user(folder: Path) -> list[str]:
    """The beginning of a command that may not run as root, and that ends with this process. Gives `folder` to its user.

    The folder is not pytest's, which only its own user may enter.
    """
    setpriv = ["setpriv", "--pdeathsig=INT"]
    if os.getuid():
        return setpriv
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, "postgres", "postgres")
    return [*setpriv, "--reuid=postgres", "--regid=postgres", "--clear-groups"]


def _wait(server: Postgres, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the server accepts connections."""
    until = time.monotonic() + _START_SECONDS
    command = [server.programs / "pg_isready", "--quiet", f"--host={server.host}", f"--port={server.port}"]
    while subprocess.run(command, check=False).returncode:
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
