import os
import subprocess
import sys
from pathlib import Path

import pytest

from kgspark.spark.jvm import class_archive

SESSION = """
import sys
from pathlib import Path
from kgspark.spark.jvm import class_archive
from kgspark.spark.session import spark_session
from kgspark.spark.settings import SessionSettings
class_archive.archive = lambda: Path(sys.argv[1])
with spark_session(SessionSettings(master="local[1]"), "archive") as session:
    loaded = session.sparkContext._jvm.java.lang.management.ManagementFactory.getRuntimeMXBean().getInputArguments()
    print(session.range(3).count(), [option for option in loaded if "Archive" in option])
"""


def _session(archive: Path, environment: dict[str, str] | None = None) -> str:
    command = [sys.executable, "-c", SESSION, str(archive)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | (environment or {}))
    assert "[cds" not in done.stdout + done.stderr, "Java complains"
    return done.stdout.strip()


@pytest.mark.extended
def test_a_session_records_an_archive_that_a_later_one_uses_where_it_fits(tmp_path: Path) -> None:
    archive = tmp_path / "deep" / "spark.jsa"
    recording = archive.with_suffix(".recording")
    assert _session(archive, {"KGSPARK_RECORD_CLASSES": "1"}) == f"3 ['-XX:ArchiveClassesAtExit={recording}']"
    assert [path.name for path in archive.parent.iterdir()] == ["spark.jsa"]
    assert archive.stat().st_size > 10 << 20
    assert _session(archive) == f"3 ['-XX:SharedArchiveFile={archive}']"
    archive.unlink()
    archive.write_text("of another Java")
    assert _session(archive) == f"3 ['-XX:SharedArchiveFile={archive}']"


def test_the_archive_belongs_to_this_python_environment() -> None:
    assert class_archive.archive().is_relative_to(sys.prefix)
