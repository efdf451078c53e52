"""Sessions of Spark Connect: Spark runs on a server, and this process is only its client.

The tasks on the server need Python with the extra `executor`; kgspark's own code is sent to them. The lake and the
source must be at the same paths here and there.
"""

import io
import os
import re
import socket
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

import kgspark
from kgspark.errors import ResourceError, StageError
from kgspark.redaction import hide
from kgspark.spark.session_settings import set_where_possible
from kgspark.spark.settings import SessionSettings

_REMOTE = "SPARK_REMOTE"
_PORT = 15002
_SECONDS_TO_REACH = 10


def server_of(settings: SessionSettings) -> str | None:
    """The address of the server that the environment or the settings name; None to start Spark here."""
    if _REMOTE in os.environ:
        return os.environ[_REMOTE]
    return settings.master if settings.master.startswith("sc://") else None


@contextmanager
def connected(server: str, settings: SessionSettings, app: str) -> Iterator[SparkSession]:
    """A session of its own on the server, which ends with it.

    ConfigError if the extra `connect` is missing; StageError if the server cannot be reached.
    """
    if find_spec("grpc") is None:
        raise ResourceError(f"{_shown(server)}: needs the extra connect: pip install 'kgspark[connect]'")
    # By default, gRPC starts its threads again in a forked process, and aborts it when a program that is started there
    # closes their files. Our forks start programs only, such as the JVM of Spark's parser.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    for token in re.findall(r"token=([^;/]+)", server):
        hide(token)
    _check_reachable(server)
    try:
        session = SparkSession.builder.remote(server).appName(app).create()
    except PySparkException as error:
        raise ResourceError(f"{_shown(server)}: Spark Connect refuses the session: {error}") from error
    try:
        with set_where_possible(session, settings):
            _send_package(session)
            yield session
    finally:
        with suppress(Exception):  # the server may be gone, which the error of the night tells
            session.stop()


def _check_reachable(server: str) -> None:
    """StageError if nobody listens: the client itself would try again for ten minutes."""
    address = urlsplit(server)
    if address.scheme != "sc":
        return  # `local` starts a server in this process
    try:
        with socket.create_connection((address.hostname or "", address.port or _PORT), timeout=_SECONDS_TO_REACH):
            pass
    except OSError as error:
        raise StageError(
            f"{_shown(server)}: no Spark Connect server can be reached: {error.strerror or error}; start it, or "
            "correct spark.master or SPARK_REMOTE"
        ) from None


def _shown(server: str) -> str:
    """The address without its parameters, such as a token."""
    return server.partition(";")[0].rstrip("/")


def _send_package(session: SparkSession) -> None:
    """Sends kgspark's modules to the tasks of the session."""
    root = Path(kgspark.__file__).parent
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(root.rglob("*.py")):
            archive.write(path, str(Path(root.name) / path.relative_to(root)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kgspark.zip"
        path.write_bytes(packed.getvalue())
        session.addArtifacts(str(path), pyfile=True)
