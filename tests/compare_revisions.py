"""Checks if two revisions write the same tables: runs a night of each on the same data, and compares the files.

    python tests/compare_revisions.py BEFORE [--after REVISION] CONF=SOURCE [CONF=SOURCE ...]

BEFORE and REVISION are revisions for git; without --after the working tree is compared. CONF is a configuration of
the revision, SOURCE the data for its night: `conf/ml-1m.yaml=../shared/data/ml-1m`. A table is the same if all its
files have the same bytes. Spark's Parquet writer lists the encodings of a footer in an order that differs between JVMs,
so files that differ are compared again by schema and rows. Model files have settings in their header, so they are
compared by their tensors. Exit code 1 if a table differs.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyarrow.parquet as pq

ROOT = Path(__file__).parents[1]
DATE = "2026-01-02"
# Manifests contain times and settings, and `training` contains the epochs' times; the locks are empty.
_NO_TABLE = {"training", "published", ".staging"}


def main() -> int:
    """Compares, and prints one line per table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before")
    parser.add_argument("--after", help="a revision; the working tree without it")
    parser.add_argument("nights", nargs="+", metavar="CONF=SOURCE")
    given = parser.parse_args()
    equal = True
    with ExitStack() as stack:
        trees = [stack.enter_context(_checkout(given.before))]
        trees.append(stack.enter_context(_checkout(given.after)) if given.after else ROOT)
        for night in given.nights:
            conf, _, source = night.partition("=")
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kgspark-compare-")))
            lakes = [_run(tree, conf, Path(source), scratch / str(at)) for at, tree in enumerate(trees)]
            for table, verdict in _compare(*lakes):
                print(f"{conf:<28}{table:<28}{verdict}", flush=True)
                equal = equal and not verdict.startswith("DIFFERS")
    return 0 if equal else 1


@contextmanager
def _checkout(revision: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="kgspark-revision-") as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", tree, revision], cwd=ROOT, check=True)
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=True)


def _run(tree: Path, conf: str, source: Path, lake: Path) -> Path:
    command = [sys.executable, "-m", "kgspark.cli", "nightly", str(tree / conf)]
    overrides = [f"source.path={source.absolute()}", f"lake={lake}", f"run_date={DATE}", "spark.master=local[2]"]
    # The revision's own package comes before the installed one.
    environment = os.environ | {"PYTHONPATH": str(tree / "src")}
    subprocess.run([*command, *overrides], cwd=tree, env=environment, check=True, stdout=subprocess.DEVNULL)
    return lake


def _compare(before: Path, after: Path) -> Iterator[tuple[str, str]]:
    """Each table of the run and of the warehouse: `same bytes`, `same rows`, or DIFFERS with the first difference."""
    places = [Path("runs") / DATE, *(path.relative_to(before) for path in (before / "warehouse").glob("[!._]*"))]
    for place in places:
        folders = {path.name for lake in (before, after) for path in (lake / place).iterdir() if path.is_dir()}
        for name in sorted(folders - _NO_TABLE):
            yield (
                f"{name if place.parts[0] == 'runs' else place}",
                _verdict(before / place / name, after / place / name),
            )


def _verdict(before: Path, after: Path) -> str:
    files = [{_plain(path): path for path in folder.glob("[!._]*")} for folder in (before, after)]
    if files[0].keys() != files[1].keys():
        return f"DIFFERS: {sorted(files[0].keys() ^ files[1].keys())} on one side only"
    verdict = "same bytes"
    for name in sorted(files[0]):
        pair = [found[name] for found in files]
        if pair[0].read_bytes() == pair[1].read_bytes():
            continue
        if name.endswith(".safetensors") and _tensors(pair[0]) == _tensors(pair[1]):
            verdict = "same tensors"
            continue
        if not name.endswith(".parquet"):
            return f"DIFFERS: {name}"
        tables = [pq.read_table(path, partitioning=None) for path in pair]
        if not tables[0].equals(tables[1], check_metadata=False):
            return f"DIFFERS: {name}: {tables[0].schema.names} {len(tables[0]):,} rows, {len(tables[1]):,} rows"
        verdict = "same rows"
    return verdict


def _plain(path: Path) -> str:
    """The name of a file; a published one without the hash of its version."""
    return re.sub(r"^(part-\d+)-[0-9a-f]{12}\.parquet$", r"\1.parquet", path.name)


def _tensors(path: Path) -> bytes:
    """The bytes after the header; the first eight bytes are the length of the header."""
    content = path.read_bytes()
    return content[8 + int.from_bytes(content[:8], "little") :]


if __name__ == "__main__":
    sys.exit(main())
