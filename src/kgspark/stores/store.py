"""Object stores: reading and writing objects, and puts that only one of several writers can win.

An object is written by one put, which readers see as a whole or not at all. There is no rename and no lock. What
identifies the content of an object is its ETag: it changes with every put of other bytes.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from kgspark.errors import ConfigError, ResourceError, StageError
from kgspark.files import DataFile
from kgspark.stores.client import client_of, lacks_bucket, reason_of
from kgspark.stores.uris import bucket_of, for_spark

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

_EXTRA = "pip install 'kgspark[store]'"
_AT_A_TIME = 8
_CHUNK_BYTES = 8 << 20
_FOOTER_BYTES = 64 << 10
# A part of an upload must get through in the time of one answer (see `client`), so not many are sent at a time.
_PARTS_AT_A_TIME = 2
# One request reads no more of an object.
_PART_BYTES = 64 << 20
_T = TypeVar("_T")


class LostError(Exception):
    """A conditional put found another object than the expected one: another writer was faster."""


@dataclass(frozen=True)
class StoredObject:
    """An object of a store.

    key       its name below the store's URI
    modified  the time of its last put, by the clock of the store, in seconds since 1970
    """

    key: str
    bytes: int
    etag: str
    modified: float

    @classmethod
    def of(cls, found: "ObjectMeta") -> "StoredObject":
        """The object that obstore describes."""
        return cls(found["path"], found["size"], _etag(found), found["last_modified"].timestamp())


@dataclass(frozen=True)
class Store:
    """The objects below one URI. Every function raises StageError, in one line, if the store cannot be used.

    Raises ConfigError if the package for stores is not installed.
    """

    uri: str

    def __post_init__(self) -> None:
        if find_spec("obstore") is None:
            raise ConfigError(f"{self.uri}: object stores need the package obstore; {_EXTRA}")

    def below(self, prefix: str) -> "Store":
        """The store of the objects below `prefix/`."""
        return Store(f"{self.uri}/{prefix}")

    def spark_uri(self, key: str) -> str:
        """The place of an object, as Spark's connectors name it."""
        return f"{for_spark(self.uri)}/{key}"

    def objects(self, prefix: str = "") -> list[StoredObject]:
        """All objects below `prefix/`, by key."""
        import obstore

        with self._told(prefix):
            found = [
                StoredObject.of(each)
                for chunk in obstore.list(self._handle, prefix or None, chunk_size=1000)
                for each in chunk
            ]
        return sorted(found, key=lambda each: each.key)

    def folders(self, prefix: str) -> list[str]:
        """The names directly below `prefix/` that have objects below them."""
        import obstore

        with self._told(prefix):
            found = obstore.list_with_delimiter(self._handle, prefix)["common_prefixes"]
        return sorted(path.rpartition("/")[2] for path in found)

    def find(self, key: str) -> StoredObject | None:
        """The object of a key, without its content; None if there is none."""
        import obstore

        with self._told(key):
            try:
                found = obstore.head(self._handle, key)
            except FileNotFoundError:
                return None
        return StoredObject.of(found)

    def read(self, key: str) -> tuple[bytes, str] | None:
        """Content and ETag of a small object; None if there is none."""
        import obstore

        with self._told(key):
            try:
                found = obstore.get(self._handle, key)
                return bytes(found.bytes()), _etag(found.meta)
            except FileNotFoundError as error:
                if lacks_bucket(error):
                    raise
                return None

    def download(self, key: str, path: Path, expected: StoredObject | None = None) -> None:
        """Writes an object to a new file, which is on the disk when the call returns.

        expected  the object as it was listed; None takes the present one
        Raises LostError if another object is there, or comes there meanwhile. An object is read in parts, because one
        of many gigabytes takes longer than a request may.
        """
        found = self.find(key) if expected is None else expected
        if found is None:
            raise StageError(f"{self.uri}/{key}: the file is missing")
        self._write_parts(path, found, [(0, found.bytes)])

    def download_ends(self, path: Path, found: StoredObject, length: int) -> None:
        """Writes a new file of the object's size that has its first and last `length` bytes, and zeros between.

        Raises LostError if another object than `found` is there.
        """
        self._write_parts(path, found, [(0, min(length, found.bytes)), (max(0, found.bytes - length), found.bytes)])

    def _write_parts(self, path: Path, found: StoredObject, parts: Sequence[tuple[int, int]]) -> None:
        with self._told(found.key), open(path, "wb") as stream:
            stream.truncate(found.bytes)
            for first, end in parts:
                stream.seek(first)
                for start in range(first, end, _PART_BYTES):
                    self._write_part(stream, found, start, min(start + _PART_BYTES, end))
            stream.flush()
            os.fsync(stream.fileno())

    def _write_part(self, stream: IO[bytes], found: StoredObject, start: int, end: int) -> None:
        import obstore

        try:
            part = obstore.get(self._handle, found.key, options={"range": (start, end)})
        except FileNotFoundError:
            raise LostError(f"{self.uri}/{found.key}") from None
        # What one answer holds is of one state of the object.
        if _etag(part.meta) != found.etag:
            raise LostError(f"{self.uri}/{found.key}")
        for chunk in part.stream(min_chunk_size=_CHUNK_BYTES):
            stream.write(chunk)

    def upload(self, path: Path, key: str, sha256: str | None = None) -> str:
        """Puts a file; returns the object's ETag. StageError if what was sent has another SHA-256 than a given one."""
        import obstore

        digest = hashlib.sha256()

        def chunks() -> Iterator[bytes]:
            with open(path, "rb") as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    yield chunk

        with self._told(key):
            small = path.stat().st_size <= _CHUNK_BYTES
            content = b"".join(chunks()) if small else chunks()
            put = obstore.put(self._handle, key, content, max_concurrency=_PARTS_AT_A_TIME)
        if sha256 is not None and digest.hexdigest() != sha256:
            raise StageError(f"{path}: the file changed after it was written; run the command again")
        return _etag(put)

    def put(self, key: str, content: bytes) -> str:
        """Puts a small object, whatever is there; returns its ETag."""
        import obstore

        with self._told(key):
            return _etag(obstore.put(self._handle, key, content))

    def put_if(self, key: str, content: bytes, expected: str | None) -> str:
        """Puts a small object if the one that is there has the ETag `expected` (None: if there is none).

        Returns its ETag. Raises LostError if another object is there.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with self._told(key):
            try:
                return _etag(obstore.put(self._handle, key, content, mode=self._condition(key, expected)))
            except (AlreadyExistsError, PreconditionError, FileNotFoundError, LostError):
                pass
        # The client repeats a put whose answer was lost, and then finds its own object there.
        found = self.read(key)
        if found is None or found[0] != content:
            raise LostError(f"{self.uri}/{key}")
        return found[1]

    def copy(self, key: str, other: "Store", to: str) -> str:
        """Copies an object to another place in the same bucket, without reading it here; returns the copy's ETag."""
        import obstore

        bucket, above = bucket_of(self.uri)
        other_bucket, other_above = bucket_of(other.uri)
        if bucket != other_bucket:
            raise ValueError(f"{bucket} and {other_bucket} are two buckets")
        whole = Store(bucket)
        with other._told(to):
            obstore.copy(whole._handle, f"{above}/{key}".lstrip("/"), f"{other_above}/{to}".lstrip("/"))
            return _etag(obstore.head(other._handle, to))

    def sha256(self, key: str) -> str:
        """SHA-256 of an object, which is read for it, in hexadecimal digits."""
        import obstore

        digest = hashlib.sha256()
        with self._told(key):
            for chunk in obstore.get(self._handle, key).stream(min_chunk_size=_CHUNK_BYTES):
                digest.update(chunk)
        return digest.hexdigest()

    def describe(self, key: str) -> DataFile:
        """Size, SHA-256 and, for Parquet, the row count of an object, which is read for it."""
        found = self.find(key)
        if found is None:
            raise StageError(f"{self.uri}/{key}: the file is missing")
        rows = pq.read_metadata(pa.BufferReader(self._footer(key))).num_rows if key.endswith(".parquet") else None
        return DataFile(key.rpartition("/")[2], found.bytes, self.sha256(key), rows)

    def parquet_schema(self, key: str) -> pa.Schema:
        """The columns of a Parquet file, from its footer."""
        return pq.ParquetFile(pa.BufferReader(self._footer(key))).schema_arrow

    def _footer(self, key: str) -> bytes:
        """The end of a Parquet file with its footer, which is a file without rows; nothing else of it is read."""
        found = self.find(key)
        if found is None:
            raise StageError(f"{self.uri}/{key}: the file is missing")
        length = min(_FOOTER_BYTES, found.bytes)
        end = self._end(key, found.bytes, length)
        needed = int.from_bytes(end[-8:-4], "little") + 8
        if needed > length:
            end = self._end(key, found.bytes, min(needed, found.bytes))
        return end

    def _end(self, key: str, size: int, length: int) -> bytes:
        """The last bytes of an object."""
        import obstore

        with self._told(key):
            return bytes(obstore.get_range(self._handle, key, start=size - length, length=length))

    def remove(self, keys: Sequence[str]) -> None:
        """Removes objects; those that are not there do not matter."""
        import obstore

        if not keys:
            return
        with self._told(keys[0]):
            try:
                obstore.delete(self._handle, list(keys))
            except FileNotFoundError:  # Azure tells of one that is not there, and perhaps leaves others
                for key in keys:
                    with suppress(FileNotFoundError):
                        obstore.delete(self._handle, key)

    def _condition(self, key: str, expected: str | None) -> Any:
        """What obstore makes a conditional put of. LostError if it is already clear that the object is another one."""
        import obstore

        if expected is None:
            return "create"
        if not self.uri.startswith("gs:"):
            return {"e_tag": f'"{expected}"'}
        found = obstore.head(self._handle, key)  # Google's stores bind a put to the number of a version
        if _etag(found) != expected:
            raise LostError(f"{self.uri}/{key}")
        return {"version": found["version"]}

    @property
    def _handle(self) -> "ObjectStore":
        return client_of(self.uri)

    @contextmanager
    def _told(self, key: str) -> Iterator[None]:
        """Errors of the store as ResourceError of one line."""
        from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

        try:
            yield
        except (AlreadyExistsError, PreconditionError):
            raise
        except (BaseError, FileNotFoundError, PermissionError) as error:
            # Without the error itself, whose text may have parts of the signed request.
            raise ResourceError(f"{self.uri}/{key}".rstrip("/") + f": {reason_of(self.uri, error)}") from None


def _etag(found: Mapping[str, Any]) -> str:
    """The ETag without its quotes, which Azure's listings leave out."""
    return (found["e_tag"] or "").strip('"')


def each_at_once(function: Callable[..., _T], *arguments: Sequence[Any]) -> list[_T]:
    """`function` of each set of arguments, several at a time, because each waits for the network."""
    if not arguments[0]:
        return []
    with ThreadPool(min(_AT_A_TIME, len(arguments[0]))) as pool:
        return pool.starmap(function, zip(*arguments, strict=True))
