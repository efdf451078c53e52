"""This machine's copies of the objects of a source that is in an object store.

Below the lake, in `sources/<name>/`:

    place.json      the URI of the folder that the objects are in
    objects.jsonl   name and ETag of each object that was fetched, and if it is whole, the latest last
    files/...       the objects, by their names

An object is fetched if its ETag or size in the store differs from that of its copy. What the store has no more is
removed. The folder may be removed at any time between two nights.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock

from kgspark.causes import cause_of
from kgspark.errors import InputError, KgsparkError
from kgspark.files import has_size, write_atomically
from kgspark.locks import locked_in_turn
from kgspark.stores.copies import FILES, PLACE
from kgspark.stores.store import LostError, Store, StoredObject, each_at_once

_FOLDER, _LOG = "sources", "objects.jsonl"
# What is fetched of the beginning and the end of an object, where Spark reads the object itself: enough for the first
# line, and for the footer of Parquet.
_END_BYTES = 4 << 20


@dataclass(frozen=True)
class Fetched:
    """The copies of some objects.

    uri      of the folder that the objects are in
    objects  by their names in this folder, as they were listed; their keys are those in `store`
    folder   of the copies
    """

    uri: str
    store: Store
    objects: Mapping[str, StoredObject]
    folder: Path

    @classmethod
    def of(cls, shown: str, uri: str, store: Store, objects: Mapping[str, StoredObject], lake: Path) -> "Fetched":
        """The copies in a lake of what a path of the configuration, `shown`, names."""
        words = re.sub(r"[^A-Za-z0-9]+", "-", shown.partition("://")[2]).strip("-")[-40:]
        name = f"{words}-{hashlib.sha256(f'{shown} {uri}'.encode()).hexdigest()[:8]}"
        return cls(uri, store, objects, lake / _FOLDER / name)

    @property
    def root(self) -> Path:
        """The folder that has the copies by their names."""
        return self.folder / FILES

    def state(self, name: str) -> str:
        """Changes with every other content of the object: a hash of its URI, size and ETag."""
        found = self.objects[name]
        return hashlib.sha256(json.dumps([f"{self.uri}/{name}", found.bytes, found.etag]).encode()).hexdigest()

    def fetch(self, names: Collection[str], whole: bool = True) -> None:
        """Gets the objects of these names that have no copy yet; removes the copies of those that are not listed.

        whole  False if the beginnings and ends are enough: then a large copy has zeros between them

        Raises InputError if an object is not any more what was listed, StageError if the store cannot be used.
        """
        with locked_in_turn(self.folder):
            write_atomically(self.folder / PLACE, json.dumps({"uri": self.uri}) + "\n")
            shutil.rmtree(self._partial, ignore_errors=True)
            self._partial.mkdir()
            try:
                have = self._tidy(whole)
                missing = sorted(name for name in names if name not in have)
                each_at_once(partial(self._fetch, Lock(), whole), missing)
            finally:
                shutil.rmtree(self._partial, ignore_errors=True)

    @property
    def _partial(self) -> Path:
        return self.folder / ".partial"

    def _tidy(self, whole: bool) -> set[str]:
        """Removes the copies that are not as their objects were listed; returns the names of the others.

        whole  removes also the copies without a middle
        """
        known, present = self._known(), [path for path in self.root.rglob("*") if not path.is_dir()]
        have = set()

        def allowed(found: StoredObject) -> list[tuple[str, bool]]:
            return [(found.etag, True)] if whole else [(found.etag, True), (found.etag, False)]

        for path in present:
            name = path.relative_to(self.root).as_posix()
            found = self.objects.get(name)
            if found is not None and known.get(name) in allowed(found) and has_size(path, found.bytes):
                have.add(name)
            else:
                path.unlink()
        for folder in sorted((path for path in self.root.rglob("*") if path.is_dir()), reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()
        lines = [json.dumps([name, *known[name]]) + "\n" for name in sorted(have)]
        write_atomically(self.folder / _LOG, "".join(lines))
        return have

    def _known(self) -> dict[str, tuple[str, bool]]:
        """The ETags of the copies, and if they are whole."""
        try:
            lines = (self.folder / _LOG).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return {}
        if lines and not lines[-1].endswith("]"):
            lines.pop()  # a process was killed while it wrote this line
        return {name: (etag, whole) for name, etag, whole in map(json.loads, lines)}

    def _fetch(self, writing: Lock, whole: bool, name: str) -> None:
        found, path = self.objects[name], self.root / name
        unfinished = self._partial / hashlib.sha256(name.encode()).hexdigest()
        try:
            if whole or found.bytes <= 2 * _END_BYTES:
                self.store.download(found.key, unfinished, found)
                whole = True
            else:
                self.store.download_ends(unfinished, found, _END_BYTES)
        except LostError:
            raise InputError(
                f"{self.uri}/{name}: the object changed after it was listed; run the command again"
            ) from None
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.replace(path)
        with writing, open(self.folder / _LOG, "a", encoding="utf-8") as stream:
            stream.write(json.dumps([name, found.etag, whole]) + "\n")


@contextmanager
def objects_named(lake: Path) -> Iterator[None]:
    """Errors that name the copy of an object name the object instead."""
    try:
        yield
    except Exception as error:
        said = str(error) if isinstance(error, KgsparkError) else cause_of(error)
        told = said
        for place in (lake / _FOLDER).glob(f"*/{PLACE}"):
            uri = json.loads(place.read_text(encoding="utf-8"))["uri"]
            told = told.replace(os.fspath(place.parent / FILES), uri)
        if told == said:
            raise
        raise (type(error) if isinstance(error, KgsparkError) else InputError)(told) from error
