"""A lake on an object store, and this machine's copy of it.

In the store, below the lake's URI:

    manifests/<date>/<table>.json        the manifest of a table; the table is complete as soon as this object is there
    runs/<date>/<table>/<version>/...    its files, below a prefix of their own: no object here is ever written twice
    runs/<date>/report.html              the page of the night (see `night.night_report`), which is put again
    leases/<date>.json                   the process that works on the night (see `leases`)
    warehouse/                           the published tables (see `warehouse.object_store`)

The copy is a folder with the layout of a lake on a disk. It has the manifests of all nights, and the files of those
tables that were written or read here lately. `_store.json` in it names the store, and the manifests that it has. So
every part of kgspark works on folders, and only what is in this module sends and fetches.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from kgspark.errors import BusyError, ConfigError, ResourceError, StageError
from kgspark.files import has_size, hash_file, replace_folder, visible_names, write_atomically
from kgspark.locks import is_locked, locked_in_turn
from kgspark.manifests import MANIFEST, Manifest, find_changed
from kgspark.stores.leases import check_lease, leased
from kgspark.stores.store import LostError, Store, each_at_once

# Copies of a source's objects are in `<lake>/sources/<name>/files/`; the file beside has the URI of their folder.
FILES, PLACE = "files", "place.json"
_MARK = "_store.json"
_KEY = re.compile(r"manifests/\d{4}-\d\d-\d\d/[A-Za-z]\w*\.json")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Mark:
    """What `_store.json` says: the lake's URI, and the ETags of the manifests that the copy has, by key."""

    uri: str
    manifests: Mapping[str, str]

    @classmethod
    def read(cls, folder: Path) -> "_Mark | None":
        try:
            return cls(**json.loads((folder / _MARK).read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, TypeError):
            raise ConfigError(
                f"lake: {folder / _MARK} cannot be read; remove {folder}, which is only a copy: it is made again"
            ) from None

    def write(self, folder: Path) -> None:
        write_atomically(folder / _MARK, json.dumps(asdict(self), indent=2) + "\n")


def open_lake(folder: Path, uri: str | None) -> None:
    """If a lake is on a store: makes this machine's copy in `folder`, or brings its manifests up to date."""
    copy = Copy.of(folder) if uri is None else Copy.open(folder, uri)
    if copy is not None:
        copy.refresh()


def address_in(lake: Path, name: str) -> str:
    """The place of a folder in a lake: its path, or its URI if the lake is on a store."""
    copy = Copy.of(lake)
    return str(lake / name) if copy is None else f"{copy.store.uri}/{name}"


def lakes_around(folder: Path) -> list[Path]:
    """The lakes that a folder of a night is in, the nearest first: an evaluation has one of its own in its night."""
    return [above.parent for above in (folder, *folder.parents) if above.name == "runs"]


def usual_folder(uri: str) -> Path:
    """The folder of the copy of a store's lake, below XDG_CACHE_HOME or ~/.cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    words = re.sub(r"[^A-Za-z0-9]+", "-", uri.partition("://")[2]).strip("-")
    return Path(cache) / "kgspark" / f"{words[-40:]}-{hashlib.sha256(uri.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Copy:
    """The folder of a copy, and the store of the lake."""

    folder: Path
    store: Store

    @classmethod
    def of(cls, lake: Path) -> "Copy | None":
        """The copy in a folder; None if the folder is a lake of its own."""
        mark = _Mark.read(lake)
        return None if mark is None else cls(lake, Store(mark.uri))

    @classmethod
    def around(cls, folder: Path) -> "Copy | None":
        """The copy that a folder of a night is in; None if it is in a lake of its own, or in none."""
        lakes = lakes_around(folder)
        return cls.of(lakes[0]) if lakes else None

    @classmethod
    def open(cls, folder: Path, uri: str) -> "Copy":
        """The copy of a store's lake in a folder, which is made if it is missing.

        Raises ConfigError if the folder is something else, ResourceError if it cannot be written.
        """
        mark = _Mark.read(folder)
        if mark is None:
            if (folder / "runs").exists() or (folder / "warehouse").exists():
                raise ConfigError(f"lake: {folder} is a lake of its own; the copy of {uri} needs another folder")
            try:
                with locked_in_turn(folder):
                    mark = _Mark.read(folder) or _Mark(uri, {})
                    mark.write(folder)
            except OSError as error:
                raise ResourceError(
                    f"{folder}: the copy of {uri} cannot be written: {error.strerror}; set XDG_CACHE_HOME to a "
                    "folder that can, or store to the URI and lake to such a folder"
                ) from error
        if mark.uri != uri:
            raise ConfigError(f"lake: {folder} is a copy of {mark.uri}; the copy of {uri} needs another folder")
        return cls(folder, Store(uri))

    @contextmanager
    def leased(self, date: str) -> Iterator[None]:
        """Takes the lease of a night that this process has locked, and refreshes the copy; BusyError if it is taken."""
        with leased(self.store, _lease(date), "this night"):
            self.refresh(own=date)
            yield

    def refresh(self, own: str = "") -> None:
        """Gets the manifests that are new or have changed in the store, and removes tables that are not there any more.

        own  the date of the night that this process has locked; other nights that are locked here are left alone
        """
        with locked_in_turn(self.folder):
            present = {each.key: each.etag for each in self.store.objects("manifests") if _KEY.fullmatch(each.key)}
            known = self._known()
            differing = {
                key
                for key in {**present, **known}
                if present.get(key) != known.get(key) or not (self._table(key) / MANIFEST).exists()
            }
            busy = {date for date in map(_date, differing) if date != own and is_locked(self._night(date))}
            free = {key for key in differing if _date(key) not in busy}
            wanted, gone = sorted(free & present.keys()), free - present.keys()
            known.update(zip(wanted, each_at_once(self._get_manifest, wanted), strict=True))
            for key in gone:
                shutil.rmtree(self._table(key), ignore_errors=True)
                del known[key]
            _Mark(self.store.uri, known).write(self.folder)
            for date in {*map(_date, gone)} - {own, *map(_date, present)}:
                shutil.rmtree(self._night(date), ignore_errors=True)

    def fetch(self, folder: Path, only: Collection[str] | None = None) -> None:
        """Gets the files of a table that are not in its folder of the copy.

        only  the names of the files to get; None for all

        Raises StageError if an object is missing in the store, or is not as the manifest says.
        """
        manifest = Manifest.read(folder)
        if manifest is None or _is_whole(folder, manifest):
            return
        wanted = [file for file in manifest.files if only is None or file.name in only]
        with locked_in_turn(folder):  # another process may fetch them at this moment
            for foreign in set(visible_names(folder)) - {file.name for file in manifest.files}:
                _remove(folder / foreign)
            missing = [file.name for file in wanted if not has_size(folder / file.name, file.bytes)]
            each_at_once(partial(self._get_file, folder, manifest), missing)

    def find_damage(self, folder: Path, manifest: Manifest, checksums: bool) -> str | None:
        """The first file of a table that is not in the store as its manifest says; None if all are.

        Files of the copy that are not as the manifest says are removed, so that they are fetched again.
        checksums  as in `Manifest.find_damage`, for the files of the copy
        """
        prefix = self.prefix(folder, manifest)
        present = {each.key.removeprefix(f"{prefix}/"): each for each in self.store.objects(prefix)}
        expected = {file.name: (file.bytes, manifest.etags.get(file.name)) for file in manifest.files}
        for name in sorted(present.keys() | expected.keys()):
            if name not in present:
                return f"{self.store.uri}/{prefix}/{name}: the file is missing"
            if name not in expected:
                return f"{self.store.uri}/{prefix}/{name}: this is no file of the table"
            if (present[name].bytes, present[name].etag) != expected[name]:
                return f"{self.store.uri}/{prefix}/{name}: the content changed after it was written"
        for file in manifest.files:
            path = folder / file.name
            if path.exists() and find_changed(folder, [file], checksums) is not None:
                _LOG.warning("%s: the copy is damaged; it is fetched again", path)
                _remove(path)
        return None

    def key_of(self, folder: Path) -> str:
        """The prefix of a folder of a night: of a complete table that of its version, else its path below the lake."""
        manifest = _complete(folder)
        return folder.relative_to(self.folder).as_posix() if manifest is None else self.prefix(folder, manifest)

    def mirror(self, folder: Path) -> str:
        """The prefix of a folder of a night. Files that a stage has written here, and not yet committed, are put there.

        So tasks on other machines see them.
        """
        prefix = self.key_of(folder)
        if _complete(folder) is None:
            paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
            each_at_once(self.store.upload, paths, [f"{prefix}/{path.relative_to(folder)}" for path in paths])
        return prefix

    def copy_inside(self, folder: Path, to: Path, names: Sequence[str]) -> None:
        """Copies files of a complete table inside the store, to a folder that a stage works in."""
        keys, copies = ([f"{self.key_of(place)}/{name}" for name in names] for place in (folder, to))
        each_at_once(lambda key, copied: self.store.copy(key, self.store, copied), keys, copies)

    def bring(self, folder: Path) -> None:
        """Gets the files of a folder that tasks on other machines have written, and that is not committed yet."""
        store = self.store.below(self.key_of(folder))
        missing = [each.key for each in store.objects() if not (folder / each.key).exists()]
        folder.mkdir(parents=True, exist_ok=True)
        each_at_once(store.download, missing, [folder / key for key in missing])

    def discard(self, folder: Path) -> None:
        """Removes what is in the store of a folder that a stage worked in."""
        self.store.remove([each.key for each in self.store.objects(self.key_of(folder))])

    def send(self, staged: Path, target: Path, manifest: Manifest) -> Manifest:
        """Puts the files of a table that a stage wrote into the folder `staged`; returns the manifest with their ETags.

        Files that tasks have written to the prefix of `staged` are copied inside the store.

        target  the folder that the table will have. The table is not complete until `commit`
        """
        version = f"{manifest.fingerprint[:12]}-{uuid.uuid4().hex[:8]}"
        named = replace(manifest, version=version)
        prefix = self.prefix(target, named)

        names, hashes = [file.name for file in manifest.files], [file.sha256 for file in manifest.files]

        def put(name: str, sha256: str) -> str:
            if (staged / name).exists():
                return self.store.upload(staged / name, f"{prefix}/{name}", sha256)
            return self.store.copy(f"{self.key_of(staged)}/{name}", self.store, f"{prefix}/{name}")

        return replace(named, etags=dict(zip(names, each_at_once(put, names, hashes), strict=True)))

    def commit(self, staged: Path, target: Path, manifest: Manifest) -> None:
        """Puts the manifest: from now on, the table is complete, and replaces the one that this copy knew.

        Then moves the folder `staged` to `target`, and removes the files of earlier versions from the store, and of
        attempts that were killed. Raises BusyError if another process has written this table or works on this night.
        """
        key, above = self._key(target), self.prefix(target, manifest).rpartition("/")[0]
        # What is there before the put is of earlier versions for sure. Later, another process may have sent its own.
        replaced = [version for version in self.store.folders(above) if version != manifest.version]
        check_lease(self.store, _lease(_date(key)))
        try:
            etag = self.store.put_if(key, manifest.as_text().encode(), self._known().get(key))
        except LostError:
            raise BusyError(
                f"{self.store.uri}/{key}: another process has written this table meanwhile; nothing was changed; run "
                "the command again"
            ) from None
        replace_folder(staged, target)
        self._remember({key: etag})
        self.store.remove([each.key for version in replaced for each in self.store.objects(f"{above}/{version}")])

    def remove_night(self, date: str) -> None:
        """Removes a night from the store: first its manifests, so that no table is seen without its files."""
        for prefix in (f"manifests/{date}", f"runs/{date}"):
            self.store.remove([each.key for each in self.store.objects(prefix)])
        self._remember({key: None for key in self._known() if _date(key) == date})

    def drop_files(self, own: str, kept: Collection[str]) -> None:
        """Removes the files of all nights from the copy, but for the `kept` ones; they are fetched when they are read.

        own  the date of the night that this process has locked. If another process of this machine has locked any
             night, nothing is removed, because it may read all of them
        """
        nights = {path.name: path for path in (self.folder / "runs").iterdir() if path.is_dir()}
        if any(is_locked(path) for date, path in nights.items() if date != own):
            return
        for folder in (folder for date, path in nights.items() if date not in kept for folder in path.iterdir()):
            if Manifest.read(folder) is not None:
                for name in visible_names(folder):
                    _remove(folder / name)
        for version in (self.folder / "warehouse" / "_versions").glob("*"):
            if not version.name.startswith(tuple(kept)):
                _remove(version)

    def night_bytes(self, date: str) -> Sequence[int]:
        """The size of each object of a night."""
        return [each.bytes for each in self.store.objects(f"runs/{date}")]

    def prefix(self, folder: Path, manifest: Manifest) -> str:
        """The prefix, in the store, of the files of the table that has or will have this folder."""
        return f"runs/{folder.parent.name}/{folder.name}/{manifest.version}"

    def _get_manifest(self, key: str) -> str:
        """Makes the table's folder that of the manifest in the store; returns its ETag."""
        content, etag = self.store.read(key) or (b"", "")  # empty if it was removed meanwhile
        folder = self._table(key)
        if not (folder / MANIFEST).exists() or (folder / MANIFEST).read_bytes() != content:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            write_atomically(folder / MANIFEST, content.decode(errors="replace"))
        return etag

    def _get_file(self, folder: Path, manifest: Manifest, name: str) -> None:
        key, partial_file = f"{self.prefix(folder, manifest)}/{name}", folder / f".{name}.partial"
        found = self.store.find(key)
        if found is None:
            raise StageError(
                f"{self.store.uri}/{key}: the file is missing; if {manifest.stage} runs for this night just now, run "
                f"the command again afterwards, else run {manifest.stage} again"
            )
        expected = next(file.sha256 for file in manifest.files if file.name == name)
        with suppress(LostError):  # then the file is not the expected one either
            self.store.download(key, partial_file, found)
        if hash_file(partial_file) != expected:
            partial_file.unlink()
            raise StageError(
                f"{self.store.uri}/{key}: the content changed after it was written; run {manifest.stage} again"
            )
        partial_file.replace(folder / name)

    def _night(self, date: str) -> Path:
        return self.folder / "runs" / date

    def _table(self, key: str) -> Path:
        """The folder of the table whose manifest has this key."""
        return self._night(_date(key)) / key.rpartition("/")[2].removesuffix(".json")

    def _key(self, folder: Path) -> str:
        """The key of the manifest of the table in a folder."""
        return f"manifests/{folder.parent.name}/{folder.name}.json"

    def _known(self) -> dict[str, str]:
        """ETags of the manifests that the copy has, by key."""
        mark = _Mark.read(self.folder)
        return {} if mark is None else dict(mark.manifests)

    def _remember(self, changes: Mapping[str, str | None]) -> None:
        with locked_in_turn(self.folder):
            known = {**self._known(), **changes}
            kept = {key: etag for key, etag in known.items() if etag is not None}
            _Mark(self.store.uri, kept).write(self.folder)


def _complete(folder: Path) -> Manifest | None:
    """The manifest of a complete table of a night; None for another folder."""
    return Manifest.read(folder) if folder.parent.parent.name == "runs" else None


def _date(key: str) -> str:
    return key.split("/")[1]


def _lease(date: str) -> str:
    return f"leases/{date}.json"


def _is_whole(folder: Path, manifest: Manifest) -> bool:
    """True if a folder has the files of its table and no others."""
    return set(visible_names(folder)) == {file.name for file in manifest.files} and all(
        has_size(folder / file.name, file.bytes) for file in manifest.files
    )


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
