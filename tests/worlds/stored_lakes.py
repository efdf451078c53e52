"""Lakes on an object store: copies of several machines, what the store has, and a process that commits a table.

    python -m worlds.stored_lakes URI FOLDER DATE MODEL [lock]

The process opens its copy in FOLDER, prints `ready`, waits for a line, and commits the ranked tables of a model. With
`lock` it has the night's lock and lease meanwhile. It ends with the exit code of kgspark.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kgspark.errors import KgsparkError
from kgspark.runs import Run
from kgspark.stores.copies import Copy
from kgspark.stores.store import Store
from kgspark.tables import RANKED
from worlds.published import models, rank

CHANGES = ("put", "copy", "delete")


def copy_at(folder: Path, uri: str) -> Path:
    """The copy of a lake in a folder, as that of a machine of its own; its manifests are up to date."""
    Copy.open(folder, uri).refresh()
    return folder


def keys_of(uri: str, prefix: str = "") -> set[str]:
    """The keys of all objects."""
    return {each.key for each in Store(uri).objects(prefix)}


def expected_keys(run: Run, tables: tuple[str, ...] = RANKED) -> set[str]:
    """The keys of complete tables without anything else."""
    copy, keys = Copy.of(run.lake), set()
    for table in tables:
        manifest = run.manifest(table)
        keys |= {f"{copy.prefix(run.place(table), manifest)}/{file.name}" for file in manifest.files}
        keys.add(f"manifests/{run.date}/{table}.json")
    return keys


def models_of(run: Run) -> dict[str, list[str]]:
    """The model of each row of the night's complete tables."""
    return {table: models(run.table(table)) for table in RANKED if run.find_manifest(table) is not None}


def by_pointer(uri: str, pointer: str = "_latest.json") -> tuple[str, dict[str, list[str]]]:
    """The model that a pointer names, and the model of each row of the files that it lists."""
    store = Store(f"{uri}/warehouse")
    named = json.loads(store.read(pointer)[0])
    return named["model_id"], {
        table: [
            model
            for file in found["files"]
            for model in pq.read_table(pa.BufferReader(store.read(f"{found['path']}/{file['name']}")[0]))[
                "model_id"
            ].to_pylist()
        ]
        for table, found in named["tables"].items()
    }


def by_folder(uri: str, date: str) -> dict[str, list[str]]:
    """The model of each row in the date's folders that have files."""
    store, found = Store(f"{uri}/warehouse"), {}
    for table in RANKED:
        keys = [each.key for each in store.objects(f"{table}/ds={date}") if each.key.endswith(".parquet")]
        tables = [pq.read_table(pa.BufferReader(store.read(key)[0])) for key in keys]
        if tables:
            found[table] = [model for each in tables for model in each["model_id"].to_pylist()]
    return found


@contextmanager
def counted_calls(monkeypatch: pytest.MonkeyPatch, *names: str) -> Iterator[Counter[str]]:
    """Counts the calls of functions of obstore, by name; without names those that change objects."""
    import obstore

    calls: Counter[str] = Counter()
    with monkeypatch.context() as patch:
        for name in names or CHANGES:
            patch.setattr(obstore, name, partial(_counting, calls, name, getattr(obstore, name)))
        yield calls


def _counting(calls: Counter[str], name: str, act: Callable[..., Any], *given: Any, **more: Any) -> Any:
    calls[name] += 1
    return act(*given, **more)


def main(uri: str, folder: str, date: str, model: str, lock: str = "") -> int:
    run = Run(copy_at(Path(folder), uri), date)
    try:
        with run.locked() if lock else nullcontext():
            print("ready", flush=True)
            sys.stdin.readline()
            rank(run, model)
    except KgsparkError as error:
        print(error, file=sys.stderr)
        return error.code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
