"""Lineage: the tables of a night belong together if each was made from the tables that are there now."""

from collections.abc import Callable, Iterator, Sequence

from kgspark.errors import StageError
from kgspark.manifests import Manifest


def check_lineage(tables: Sequence[str], find: Callable[[str], Manifest | None]) -> None:
    """Checks `tables` and everything that they were made from, as far as it is still there.

    find  the manifest of a table, or None if the table is not there

    Raises StageError with the first stage to run again if a table was made from another one than the present one, or if
    two tables of one stage are of different runs of it (a stage was killed between the moves of its tables).
    """
    visited: dict[str, Manifest] = {}
    for name in tables:
        for problem in _visit(name, find, visited):
            raise StageError(problem)
    first: dict[str, Manifest] = {}
    for manifest in visited.values():
        other = first.setdefault(manifest.stage, manifest)
        if other.fingerprint != manifest.fingerprint:
            raise StageError(
                f"{other.table} and {manifest.table} are of different runs of {manifest.stage}; run that stage again"
            )


def _visit(name: str, find: Callable[[str], Manifest | None], visited: dict[str, Manifest]) -> Iterator[str]:
    """The problems of a table and of its inputs, those of the inputs first, because their stage must run first."""
    manifest = None if name in visited else find(name)
    if manifest is None:
        return
    visited[name] = manifest
    for read, fingerprint in manifest.inputs.items():
        yield from _visit(read, find, visited)
        if read in visited and visited[read].fingerprint != fingerprint:
            yield (
                f"{name} was made from another table {read} than the present one; run {manifest.stage} again, and the "
                "stages after it"
            )
