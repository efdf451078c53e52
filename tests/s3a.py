"""Spark's connector for S3, for tests only: production clusters bring their own, which fits their Hadoop.

The jars are out of a wheel of another project, and of Hadoop 3.3. Spark's Hadoop is newer and writes some defaults with
units that 3.3 cannot read, so these are set here.
"""

import sys
import zipfile
from pathlib import Path

import pytest

from s3_server import S3

_JARS = Path(sys.prefix) / "jars"
_NAMES = (
    "hadoop-aws",
    "aws-java-sdk",
    "jmespath",
    "ion-java",
    "jackson-dataformat-cbor",
    "joda-time",
    "wildfly-openssl",
)


def s3a_conf(server: S3) -> dict[str, str]:
    """Settings by which Spark reads and writes `s3a://` on a server, with the key of the environment."""
    jars = sorted(map(str, _JARS.glob("*.jar")))
    if not jars:
        pytest.skip(f"needs the connector s3a in {_JARS}: make .venv/.jars")
    values = {
        "endpoint": server.endpoint,
        "path.style.access": "true",
        "aws.credentials.provider": "com.amazonaws.auth.EnvironmentVariableCredentialsProvider",
        "threads.keepalivetime": "60",
        "connection.establish.timeout": "5000",
        "connection.timeout": "200000",
        "connection.ttl": "300000",
        "multipart.purge.age": "86400",
    }
    classpath = ":".join(jars)
    return {
        "spark.driver.extraClassPath": classpath,
        "spark.executor.extraClassPath": classpath,
        **{f"spark.hadoop.fs.s3a.{key}": value for key, value in values.items()},
    }


def extract(wheel: Path) -> None:
    """Extracts the connector's jars from the wheel `bodo-iceberg-connector`."""
    _JARS.mkdir(exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            file = name.rpartition("/")[2]
            if file.endswith(".jar") and file.startswith(_NAMES):
                (_JARS / file).write_bytes(archive.read(name))


if __name__ == "__main__":
    extract(Path(sys.argv[1]))
