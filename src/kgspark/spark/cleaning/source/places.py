"""What a path, URI or pattern names, on a disk or in an object store: the same entries for both.

So the rules which of them are read exist once, in `files`.
"""

import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from glob import glob
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

from kgspark.errors import InputError
from kgspark.stores.store import Store, StoredObject
from kgspark.stores.uris import checked_uri, is_uri

_PATTERN = re.compile(r"[*?[]")


class Folder(Protocol):
    """A folder; as text, its path or URI."""

    def entries(self) -> "Sequence[Entry]":
        """What the folder holds, by name; InputError if it cannot be read."""


@dataclass(frozen=True)
class Entry:
    """A name in a folder.

    bytes    size of a file
    folder   if it is a folder: what it holds
    problem  why it is neither a file nor a folder
    missing  the path of a link to nothing
    """

    name: str
    bytes: int = 0
    folder: Folder | None = None
    problem: str = ""
    missing: str = ""


@dataclass(frozen=True)
class Found:
    """What a text names.

    shown    the text, for messages
    root     path or URI that names are relative to: the folder; or that of the file; or the first part of a pattern,
             which is literal
    exact    the file or folder that has exactly this name
    matches  what the pattern fits, by name
    objects  in a store: the objects below `root`, by name; their keys are those in the whole bucket
    store    that has them; None on a disk
    """

    shown: str
    root: str
    exact: Entry | None = None
    matches: Mapping[str, Entry] = field(default_factory=dict)
    objects: Mapping[str, StoredObject] = field(default_factory=dict)
    store: Store | None = None


def find(text: str) -> Found:
    """What a text names; characters such as `*` are part of a name if there is such a name.

    In a store, one list of objects is read, below the URI or the literal part of the pattern.
    Raises InputError for a URI of another scheme, and for one with a password; StageError if a store cannot be used.
    """
    if not is_uri(text):
        return _on_disk(local_path(text))
    try:
        return _in_store(checked_uri(text))
    except ValueError as error:
        raise InputError(str(error)) from None


def joined(text: str, name: str) -> str:
    """The path or URI of a name in a folder."""
    return f"{text.rstrip('/')}/{name}" if is_uri(text) else str(local_path(text) / name)


def local_path(text: str) -> Path:
    """The path in `text`, which may be a URI such as `file:///data`; InputError if it is not on a disk."""
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/", text)
    if scheme is None:
        return Path(text)
    if scheme[1].lower() != "file":
        raise InputError(
            f"{text}: {scheme[1]} is not read; mount the storage, or copy the files to a disk that all executors see"
        )
    return Path(re.sub(r"^[^:]*:/+", "/", unquote(text)))


def _on_disk(path: Path) -> Found:
    absolute = path.absolute()
    if absolute.exists():
        exact = _disk_entry(absolute)
        return Found(str(path), str(absolute if exact.folder else absolute.parent), exact)
    if not _PATTERN.search(str(path)):
        return Found(str(path), str(absolute))
    root = next(folder for folder in absolute.parents if not _PATTERN.search(str(folder)))
    found = map(Path, sorted(glob(str(absolute), recursive=True)))
    # `**` also fits the root itself.
    matches = {each.relative_to(root).as_posix(): _disk_entry(each) for each in found if each != root}
    return Found(str(path), str(root), matches=matches)


def _disk_entry(path: Path, above: frozenset[tuple[int, int]] = frozenset()) -> Entry:
    """above  device and inode of the folders above: links are followed, but not in a circle."""
    try:
        status = path.stat()
    except OSError:
        return Entry(path.name, problem="no plain file", missing=str(path) if path.is_symlink() else "")
    if not stat.S_ISDIR(status.st_mode):
        return Entry(path.name, status.st_size, problem="" if stat.S_ISREG(status.st_mode) else "no plain file")
    this = (status.st_dev, status.st_ino)
    if this in above:
        return Entry(path.name, problem="a link to a folder above")
    return Entry(path.name, folder=_DiskFolder(path, above | {this}))


@dataclass(frozen=True)
class _DiskFolder:
    path: Path
    above: frozenset[tuple[int, int]]

    def __str__(self) -> str:
        return str(self.path)

    def entries(self) -> Sequence[Entry]:
        try:
            return [_disk_entry(path, self.above) for path in sorted(self.path.iterdir())]
        except OSError as error:
            raise InputError(f"{self.path}: the folder cannot be read: {error.strerror}") from None


def _in_store(uri: str) -> Found:
    scheme, _, bucket, *parts = uri.split("/")
    store, key, name = Store(f"{scheme}//{bucket}"), "/".join(parts), parts[-1] if parts else ""
    if below := _objects_below(store, key):
        return Found(uri, uri, Entry(name, folder=_tree(uri, below)), objects=below, store=store)
    if key and (single := store.find(key)) is not None:
        return Found(uri, uri.rpartition("/")[0], Entry(name, single.bytes), objects={name: single}, store=store)
    if not _PATTERN.search(key):
        return Found(uri, uri, store=store)
    literal = next(n for n, part in enumerate(parts) if _PATTERN.search(part))
    root, below = "/".join([store.uri, *parts[:literal]]), _objects_below(store, "/".join(parts[:literal]))
    return Found(uri, root, matches=dict(_matches(_tree(root, below), parts[literal:])), objects=below, store=store)


def _objects_below(store: Store, key: str) -> dict[str, StoredObject]:
    """The objects below `key/`, by their names below it."""
    start = len(key) + 1 if key else 0
    return {each.key[start:]: each for each in store.objects(key) if each.key != key}


@dataclass
class _StoredFolder:
    uri: str
    files: dict[str, int] = field(default_factory=dict)
    folders: dict[str, "_StoredFolder"] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.uri

    def entries(self) -> Sequence[Entry]:
        # Some tools mark a folder by an empty object of its name, which is no file.
        if both := [name for name in self.folders if self.files.get(name)]:
            raise InputError(f"{self.uri}/{both[0]}: an object and a folder have this name; rename one of them")
        files = [Entry(name, size) for name, size in self.files.items() if name not in self.folders]
        folders = [Entry(name, folder=folder) for name, folder in self.folders.items()]
        return sorted([*files, *folders], key=lambda entry: entry.name)


def _tree(uri: str, objects: Mapping[str, StoredObject]) -> _StoredFolder:
    root = _StoredFolder(uri)
    for path, found in objects.items():
        *above, name = path.split("/")
        folder = root
        for part in above:
            folder = folder.folders.setdefault(part, _StoredFolder(f"{folder.uri}/{part}"))
        folder.files[name] = found.bytes
    return root


def _matches(folder: Folder, pattern: Sequence[str], above: str = "") -> Iterator[tuple[str, Entry]]:
    """What a pattern fits in a folder, by the rules of `glob`: `**` is folders of any depth, and `*` is not `.name`."""
    first, rest = pattern[0], pattern[1:]
    if first == "**":
        yield from _matches(folder, rest or ["*"], above)
    for entry in folder.entries():
        name = f"{above}{entry.name}"
        if entry.name.startswith(".") and not first.startswith("."):
            continue
        if first == "**" and entry.folder is not None:
            yield from _matches(entry.folder, pattern, f"{name}/")
        elif first != "**" and fnmatchcase(entry.name, first) and (not rest or entry.folder is not None):
            yield from [(name, entry)] if not rest else _matches(entry.folder, rest, f"{name}/")  # type: ignore[arg-type]
