"""A warehouse in an object store, where nothing can be renamed or linked: versions, and pointers that are put last.

    warehouse/_latest.json                     the pointer: the description of the newest version
    warehouse/_dates/<date>.json               the pointer of a date
    warehouse/_versions/<version>/<table>/...  the files of a version, and _SUCCESS, which has their ETags
    warehouse/_versions/<version>/_version.json  its description, put after them
    warehouse/<table>/ds=<date>/...            copies of the files of the date's version, and _SUCCESS

A pointer changes in one put, and what it names never changes. So a reader that follows one never mixes two versions.
The folders of the dates are for readers that know only folders: while a date is published again, such a folder has, for
some moments, files of two versions. Files are copied inside the store, without reading them here.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kgspark.errors import AuditError, BusyError, StageError
from kgspark.files import DataFile, has_size, hash_file
from kgspark.locks import locked_in_turn
from kgspark.runs import Run
from kgspark.stores.copies import Copy
from kgspark.stores.leases import check_lease, leased
from kgspark.stores.store import LostError, Store, each_at_once
from kgspark.tables import PUBLISHABLE
from kgspark.warehouse.versions import DESCRIPTION, SUCCESS, VERSIONS, Version, Warehouse, newest_first

_POINTER, _DATES = "_latest.json", "_dates"
_LEASE = "leases/warehouse.json"


@dataclass(frozen=True)
class StoreWarehouse(Warehouse):
    """The warehouse of a lake in a store. Functions as `Warehouse` says."""

    copy: Copy

    @property
    def store(self) -> Store:
        """The objects below `warehouse/`."""
        return self.copy.store.below("warehouse")

    @property
    def address(self) -> str:
        """The URI."""
        return self.store.uri

    def publish(self, run: Run, version: Version) -> None:
        """Copies the files into a version, moves the date's pointer, fills the date's folders, moves `_latest.json`.

        Each step leaves what readers of the pointers see complete, so nothing needs to be undone after an error. What
        is there already is not written again.
        """
        if self.is_published(version, checksums=False):
            return
        with self.locked():
            _, before = self._read(_dated(version.date))
            self._remove_unfinished(version)
            self._write_version(run, version)
            self._put_if(_dated(version.date), version, before)
            for table in PUBLISHABLE:
                self._check_lease()
                self._fill_day(version, table)
            self._move_pointer(version)

    def is_published(self, version: Version, checksums: bool) -> bool:
        """See `Warehouse`; ETags are compared, which change with the content, so nothing is read."""
        latest = self.latest()
        return (
            latest is not None
            and (latest == version or latest.date > version.date)
            and self.in_place(version.date) == version
            and self._is_written(version)
            and all(self._is_filled(version, table) for table in PUBLISHABLE)
        )

    def point_to(self, version: Version, checksums: bool) -> None:
        """See `Warehouse`."""
        if not self._is_written(version):
            raise StageError(
                f"{self.address}: the version of {version.date} is damaged, so {_POINTER} is not changed; run publish "
                "for this date again, or name another one"
            )
        self._put_if(_POINTER, version, self._read(_POINTER)[1])

    def latest(self) -> Version | None:
        """See `Warehouse`."""
        named, _ = self._read(_POINTER)
        return named if named is not None and self._read(_description(named.id))[0] == named else None

    def in_place(self, date: str) -> Version | None:
        """See `Warehouse`."""
        return self._read(_dated(date))[0]

    def dates(self) -> list[str]:
        """See `Warehouse`."""
        return newest_first(each.key.rpartition("/")[2].removesuffix(".json") for each in self.store.objects(_DATES))

    def version_ids(self) -> list[str]:
        """See `Warehouse`."""
        ids = self.store.folders(VERSIONS)
        found = each_at_once(self.store.find, [_description(name) for name in ids])
        moments = {name: each.modified for name, each in zip(ids, found, strict=True) if each is not None}
        return sorted(moments, key=moments.__getitem__, reverse=True)

    def remove_dates(self, dates: Iterable[str]) -> None:
        """See `Warehouse`; the pointer of a date goes last, so that a removal that was killed is repeated."""
        for date in dates:
            for table in PUBLISHABLE:
                self._remove_below(_day(table, date))
            self.store.remove([_dated(date)])

    def remove_versions(self, ids: Iterable[str]) -> None:
        """See `Warehouse`; the descriptions go first."""
        for name in ids:
            self.store.remove([_description(name)])
            self._remove_below(f"{VERSIONS}/{name}")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """See `Warehouse`; other machines wait, too."""
        lease = leased(self.copy.store, _LEASE, "the warehouse", wait=True)
        with locked_in_turn(self.copy.folder / "warehouse"), lease:
            yield

    def file_sizes(self, run: Run) -> list[int]:
        """See `Warehouse`."""
        store, versions = self.store, self.store.folders(VERSIONS)
        places = [_day(table, run.date) for table in PUBLISHABLE]
        places += [f"{VERSIONS}/{name}" for name in versions if name.startswith(f"{run.date}-")]
        published = [each.bytes for place in places for each in store.objects(place)]
        return [*self.copy.night_bytes(run.date), *published]

    def day_of(self, table: str, date: str) -> str:
        """See `Warehouse`."""
        return f"{self.address}/{_day(table, date)}"

    def table_of(self, table: str) -> str:
        """See `Warehouse`."""
        return self.store.spark_uri(table)

    def version_of(self, version: Version, table: str) -> str:
        """See `Warehouse`."""
        return self.store.spark_uri(_files(version, table))

    def readable(self, table: str, date: str) -> Path | None:
        """See `Warehouse`; the files are fetched from the version."""
        version = self.in_place(date)
        if version is None or table not in version.tables:
            return None
        folder = self.copy.folder / "warehouse" / _files(version, table)
        folder.mkdir(parents=True, exist_ok=True)
        for file in version.tables[table]:
            path = folder / file.name
            if has_size(path, file.bytes) and hash_file(path) == file.sha256:
                continue
            found = self.store.find(f"{_files(version, table)}/{file.name}")
            if found is None:
                return None
            self.store.download(found.key, path, found)
        return folder

    def _write_version(self, run: Run, version: Version) -> None:
        """Copies the night's tables, unless the version is there. AuditError if a file is not the audited one."""
        if not self._is_written(version):
            for table, files in version.tables.items():
                manifest = run.manifest(table)
                if (damage := run.find_damage(manifest)) is not None:
                    raise AuditError(f"{damage}; run {manifest.stage} again")
                source = self.copy.prefix(run.place(table), manifest)
                names = [f"{source}/{file.name}" for file in manifest.files]
                etags = [manifest.etags[file.name] for file in manifest.files]
                self._copy(self.copy.store, names, etags, files, _files(version, table), version)
        self._check_lease()
        self.store.put(_description(version.id), version.as_text().encode())

    def _is_written(self, version: Version) -> bool:
        return self._read(_description(version.id))[0] == version and all(
            self._holds(_files(version, table), files, version) for table, files in version.tables.items()
        )

    def _fill_day(self, version: Version, table: str) -> None:
        """Makes the date's folder a copy of the version's; a table that the version lacks is removed."""
        day = _day(table, version.date)
        if table not in version.tables:
            self._remove_below(day)
        elif not self._is_filled(version, table):
            files, source = version.tables[table], _files(version, table)
            etags = self._etags(source, version)
            names = [f"{source}/{file.name}" for file in files]
            self._copy(self.store, names, [etags[file.name] for file in files], files, day, version)

    def _is_filled(self, version: Version, table: str) -> bool:
        day = _day(table, version.date)
        if table not in version.tables:
            return not self.store.objects(day)
        return self._holds(day, version.tables[table], version)

    def _copy(
        self, store: Store, keys: Sequence[str], etags: Sequence[str], files: Sequence[DataFile], prefix: str,
        version: Version,
    ) -> None:  # fmt: skip
        """Copies objects of `store` to `prefix`, under the names of `files`, puts `_SUCCESS`, and removes all others.

        AuditError if a copy is not what `files` says.
        """
        to = [f"{prefix}/{file.name}" for file in files]
        copied = each_at_once(lambda key, target: store.copy(key, self.store, target), keys, to)
        for file, key, target, before, after in zip(files, keys, to, etags, copied, strict=True):
            # A copy of an object that was put in parts gets another ETag, so its bytes decide.
            if before != after and self.store.sha256(target) != file.sha256:
                raise AuditError(f"{store.uri}/{key}: the content changed after it was written; run recommend again")
        written = {file.name: etag for file, etag in zip(files, copied, strict=True)}
        self.store.put(f"{prefix}/{SUCCESS}", json.dumps({"version": version.id, "etags": written}).encode())
        self._remove_below(prefix, kept={SUCCESS, *written})

    def _holds(self, prefix: str, files: Sequence[DataFile], version: Version) -> bool:
        """True if exactly these files of the version are below a prefix, unchanged since they were copied there."""
        found = self.store.objects(prefix)
        present = {each.key.removeprefix(f"{prefix}/"): (each.bytes, each.etag) for each in found}
        present.pop(SUCCESS, None)
        etags = self._etags(prefix, version)
        return present == {file.name: (file.bytes, etags.get(file.name)) for file in files}

    def _etags(self, prefix: str, version: Version) -> Mapping[str, str]:
        """The ETags in `_SUCCESS`; empty if it is missing, cannot be read, or is of another version."""
        found = self.store.read(f"{prefix}/{SUCCESS}")
        try:
            value = json.loads(found[0]) if found is not None else {}
            return dict(value["etags"]) if value["version"] == version.id else {}
        except (ValueError, TypeError, KeyError):
            return {}

    def _move_pointer(self, version: Version) -> None:
        _, etag = self._read(_POINTER)
        latest = self.latest()
        if latest is None or latest.date <= version.date:
            self._put_if(_POINTER, version, etag)

    def _remove_unfinished(self, version: Version) -> None:
        """Removes what publications that were killed have left of versions without a description."""
        ids = set(self.store.folders(VERSIONS))
        for name in ids - {version.id, *self.version_ids()}:
            self._remove_below(f"{VERSIONS}/{name}")

    def _remove_below(self, prefix: str, kept: Iterable[str] = ()) -> None:
        keys = {each.key for each in self.store.objects(prefix)}
        self.store.remove(sorted(keys - {f"{prefix}/{name}" for name in kept}))

    def _read(self, key: str) -> tuple[Version | None, str | None]:
        """The description of an object, and its ETag; None without the object."""
        found = self.store.read(key)
        return (None, None) if found is None else (Version.from_text(found[0]), found[1])

    def _check_lease(self) -> None:
        """BusyError if this process stood still for so long that another one works on the warehouse now."""
        check_lease(self.copy.store, _LEASE)

    def _put_if(self, key: str, version: Version, etag: str | None) -> None:
        self._check_lease()
        try:
            self.store.put_if(key, version.as_text().encode(), etag)
        except LostError as error:
            raise BusyError(f"{error}: another process has published meanwhile; run publish again") from None


def _dated(date: str) -> str:
    return f"{_DATES}/{date}.json"


def _description(version_id: str) -> str:
    return f"{VERSIONS}/{version_id}/{DESCRIPTION}"


def _files(version: Version, table: str) -> str:
    return f"{VERSIONS}/{version.id}/{table}"


def _day(table: str, date: str) -> str:
    return f"{table}/ds={date}"
