"""Lines, headers and last lines of files, counted without Spark."""

import gzip
import hashlib
import os
import random
from pathlib import Path
from typing import Any, Literal

import pytest

from kgspark.files import source_signature
from kgspark.spark.cleaning.source import file_accounts
from kgspark.spark.cleaning.source.file_accounts import SourceFile, find_changed_file, text_accounts, unfinished_lines
from kgspark.spark.cleaning.source.files import find_files
from kgspark.spark.cleaning.source.layouts import TextLayout

LAYOUT = TextLayout(",", ("user_id", "movie_id", "rating", "timestamp"), header="u,m,r,t", quoted=True)


@pytest.mark.parametrize("chunk", [1, 2, 3, 1 << 20])
def test_lines_are_those_that_spark_reads(
    spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """Any mixture of line ends, in chunks of any size, plain and compressed."""
    rng = random.Random(chunk)
    monkeypatch.setattr(file_accounts, "_CHUNK", chunk)
    for i in range(12):
        text = "".join(rng.choice(["a", "u,m,r,t", "\n", "\r", "\r\n"]) for _ in range(rng.randint(1, 40))).encode()
        (tmp_path / f"{i}.csv").write_bytes(text)
        (tmp_path / f"{i}.csv.gz").write_bytes(gzip.compress(text))
    (tmp_path / "with a mark.csv").write_bytes(b"\xef\xbb\xbfu,m,r,t\r\n1,2,3,4")
    files = find_files(str(tmp_path), "")
    found = text_accounts(spark, files, LAYOUT)
    lines: dict[str, list[str]] = {account.name: [] for account in found}
    for row in spark.read.text(str(tmp_path)).select("value", "_metadata.file_name").collect():
        lines[row["file_name"].replace("%20", " ")].append(row["value"].removeprefix("\ufeff"))
    for account in found:
        of_spark = lines[account.name]
        assert (account.lines, account.headers) == (len(of_spark), int(of_spark[:1] == ["u,m,r,t"])), account.name
    marked = tmp_path / "with a mark.csv"
    digest = hashlib.sha256(marked.read_bytes()).hexdigest()
    state = source_signature([marked])
    assert found[-1] == SourceFile("with a mark.csv", 19, digest, lines=2, headers=1, finished=False, state=state)


@pytest.mark.parametrize(
    ("text", "refused_by_auto", "refused_if_all_are"),
    [
        ("u,m,r,t\n1,2,4.0,1600001020\n1,3,4.0,16000", "1,3,4.0,16000", "1,3,4.0,16000"),
        ("u,m,r,t\r\n1,2,4.0,1600001020\r\n1,3,4.0,1600001021", None, "1,3,4.0,1600001021"),
        ("u,m,r,t\n1,2,4.0,1600001020\nx\n1,3,4.0,16", "1,3,4.0,16", "1,3,4.0,16"),
        ("u,m,r,t\n1,2,4.0,1600001020\n", None, None),
        ("u,m,r,t\r1,2,4.0,1600001020\r", None, None),
        ("u,m,r,t\n1,2,4.0,16", None, "1,2,4.0,16"),  # nothing to compare with
        ("u,m,r,t", None, None),
        ("u,m,r,t\n1,2,4.0,1600001020\n1,3,4", None, "1,3,4"),  # refused for its number of fields
        ("1,2,4.0,1600001020\n" * 9_000 + "1,3,4.0,1", "1,3,4.0,1", "1,3,4.0,1"),
    ],
)
def test_a_last_line_is_cut_off_if_its_last_field_is_shorter_than_usual(
    tmp_path: Path, text: str, refused_by_auto: str | None, refused_if_all_are: str | None
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode())
    files = find_files(str(path), "")
    expected: dict[Literal["auto", "quarantine", "keep"], str | None] = {
        "auto": refused_by_auto, "quarantine": refused_if_all_are, "keep": None
    }  # fmt: skip
    for handling, line in expected.items():
        assert unfinished_lines(files, LAYOUT, handling) == ([(path, line)] if line else [])


def test_a_file_is_the_same_by_its_checksum_or_by_its_state(tmp_path: Path) -> None:
    no_session: Any = None  # small files are read without it
    one, other = tmp_path / "1.csv", tmp_path / "2.csv"
    for path in (one, other):
        path.write_text("1,2,4.0,5\n")
    read = text_accounts(no_session, find_files(str(tmp_path), ""), LAYOUT)

    def changed(checksums: bool) -> str | None:
        return find_changed_file(no_session, find_files(str(tmp_path), ""), read, checksums)

    (tmp_path / "0.csv").write_text("new\n")
    assert changed(True) is changed(False) is None
    times = (one.stat().st_atime_ns, one.stat().st_mtime_ns)
    one.write_text("1,2,5.0,5\n")
    os.utime(one, ns=times)
    assert changed(True) == changed(False) == "1.csv has changed"
    one.write_text("1,2,4.0,5\n")  # the same content again, but this costs a checksum to know
    assert changed(True) is None
    assert changed(False) == "1.csv has changed"
    other.unlink()
    assert changed(True) == changed(False) == "2.csv is missing"
