"""Reads the triples table, a folder of Parquet shards, into sorted NumPy arrays by split and relation."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kgspark.errors import InputError
from kgspark.graph.layout import EntityLayout
from kgspark.tables import TEST, TRAIN, VALID, Relation

SPLITS = (TRAIN, VALID, TEST)
_COLUMNS = ("head", "relation", "tail", "split", "weight")
# When the rating was given that a triple was drawn from; null for what has no time, absent where nothing has.
_TIMESTAMP = "timestamp"


@dataclass(frozen=True)
class Pairs:
    """Triples of one relation, sorted by (head, tail), each pair once.

    heads, tails  int64 (n,), entity indices; weights  float32 (n,)
    times  int64 (n,), seconds since 1970, of what has no time 0; None where nothing has
    """

    heads: np.ndarray
    tails: np.ndarray
    weights: np.ndarray
    times: np.ndarray | None = None

    def at(self, rows: np.ndarray) -> "Pairs":
        """Some of the triples: bool (n,), or ascending positions."""
        times = None if self.times is None else self.times[rows]
        return Pairs(self.heads[rows], self.tails[rows], self.weights[rows], times)

    def __len__(self) -> int:
        return len(self.heads)


@dataclass(frozen=True)
class Csr:
    """Tails by head: head `start + i` has `tails[indptr[i]:indptr[i + 1]]`, counted from the tail kind's start.

    indptr  int64 (heads + 1,); tails  int64 (n,); weights  float32 (n,); times  as in Pairs
    """

    indptr: np.ndarray
    tails: np.ndarray
    weights: np.ndarray
    times: np.ndarray | None = None

    def rows(self, heads: np.ndarray) -> "Csr":
        """The CSR of the given head positions, in that order."""
        counts = np.diff(self.indptr)[heads]
        indptr = np.concatenate([[0], counts.cumsum()]).astype(np.int64)
        at = np.arange(indptr[-1]) + np.repeat(self.indptr[heads] - indptr[:-1], counts)
        return Csr(indptr, self.tails[at], self.weights[at], None if self.times is None else self.times[at])

    def of_some(self, most: int) -> "Csr":
        """The same heads, of which only `most`, evenly spread over those that have any, keep their tails; 0 for all."""
        counts = np.diff(self.indptr)
        having = np.flatnonzero(counts)
        if not most or len(having) <= most:
            return self
        chosen = having[np.linspace(0, len(having) - 1, most).round().astype(np.int64)]
        kept = np.zeros_like(counts)
        kept[chosen] = counts[chosen]
        return replace(self.rows(chosen), indptr=np.concatenate([[0], kept.cumsum()]))


@dataclass(frozen=True)
class TripleSet:
    """The triples of a graph; `parts[split, relation index]`, absent where there are none."""

    parts: Mapping[tuple[str, int], Pairs]

    def __len__(self) -> int:
        return sum(len(pairs) for pairs in self.parts.values())

    def pairs(self, relation: int, splits: Sequence[str] = (TRAIN,)) -> Pairs:
        """The triples of one relation in any of the given splits."""
        chosen = [self.parts[split, relation] for split in splits if (split, relation) in self.parts]
        if len(chosen) == 1:
            return chosen[0]
        if not chosen:
            return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
        heads, tails, weights = (
            np.concatenate([getattr(pairs, name) for pairs in chosen]) for name in ("heads", "tails", "weights")
        )
        times = [pairs.times for pairs in chosen if pairs.times is not None]
        return sorted_pairs(heads, tails, weights, np.concatenate(times) if len(times) == len(chosen) else None)

    def csr(self, relation: Relation, layout: EntityLayout, splits: Sequence[str] = (TRAIN,)) -> Csr:
        """One relation's tails by head, over the whole range of its head kind."""
        start, stop = layout.range(relation.head_kind)
        pairs = self.pairs(relation.index, splits)
        counts = np.bincount(pairs.heads - start, minlength=stop - start)
        indptr = np.concatenate([[0], counts.cumsum()]).astype(np.int64)
        return Csr(indptr, pairs.tails - layout.range(relation.tail_kind)[0], pairs.weights, pairs.times)

    def weighted(self) -> "TripleSet":
        """The triples that training learns: those with a weight above 0."""
        kept = {}
        for key, pairs in self.parts.items():
            if (has := pairs.weights > 0).any():
                kept[key] = pairs.at(has)
        return TripleSet(kept)

    def fingerprint(self) -> str:
        """SHA-256 over all triples; equal for equal triples, however they were sharded or ordered."""
        digest = hashlib.sha256()
        for key in sorted(self.parts):
            pairs = self.parts[key]
            digest.update(repr((key, len(pairs))).encode())
            for array in (pairs.heads, pairs.tails, pairs.weights, pairs.times):
                if array is not None:
                    digest.update(np.ascontiguousarray(array).view(np.uint8).data)
        return digest.hexdigest()


def read_triples(
    folder: Path,
    layout: EntityLayout,
    relations: Sequence[Relation],
    wanted: Callable[[np.ndarray], np.ndarray] | None = None,
) -> TripleSet:
    """Reads every `*.parquet` file of `folder`, leaving out names that start with `_` or `.`.

    wanted  which heads (n,) have their triples kept, bool (n,); None for all
    Raises InputError where there is no triple, or one breaks what its relation or split declares.
    """
    paths = sorted(path for path in Path(folder).glob("*.parquet") if path.name[0] not in "_.")
    if not paths:
        raise InputError(f"{folder}: no triple shards (*.parquet); run write-triples first")
    shards = [_kept(_read_shard(path), wanted) for path in paths]
    columns = {name: np.concatenate([shard[name] for shard in shards]) for name in (*_COLUMNS, _TIMESTAMP)}
    if len(columns["head"]) == 0:
        raise InputError(f"{folder}: the triple shards hold no rows; were any ratings liked?")
    return from_arrays(columns, layout, relations, str(folder))


def from_arrays(
    columns: Mapping[str, np.ndarray], layout: EntityLayout, relations: Sequence[Relation], origin: str = "triples"
) -> TripleSet:
    """Groups, checks and sorts triples given as columns; `split` may be names or positions in `SPLITS`.

    A column `timestamp`, int64, may be missing, and is 0 for triples without a time.
    """
    split = np.asarray(columns["split"])
    codes = split if split.dtype.kind in "iu" else split_codes(split, origin)
    known = {relation.index for relation in relations}
    unknown = sorted(set(np.unique(columns["relation"]).tolist()) - known)
    if unknown:
        raise InputError(f"{origin}: relation {unknown[0]} is not declared; expected one of {sorted(known)}")
    parts: dict[tuple[str, int], Pairs] = {}
    for relation in relations:
        of_relation = columns["relation"] == relation.index
        for code, name in enumerate(SPLITS):
            at = np.flatnonzero(of_relation & (codes == code))
            if len(at):
                heads, tails = columns["head"][at].astype(np.int64), columns["tail"][at].astype(np.int64)
                _check_range(heads, layout, relation, "head", origin)
                _check_range(tails, layout, relation, "tail", origin)
                weights = columns["weight"][at].astype(np.float32)
                if not (np.isfinite(weights).all() and (weights >= 0).all()):
                    raise InputError(f"{origin}: {relation.name}: weights must be finite and not negative")
                times = columns[_TIMESTAMP][at] if _TIMESTAMP in columns else None
                timed = times is not None and bool(times.any())
                parts[name, relation.index] = sorted_pairs(heads, tails, weights, times if timed else None)
    return TripleSet(parts)


def sorted_pairs(heads: np.ndarray, tails: np.ndarray, weights: np.ndarray, times: np.ndarray | None = None) -> Pairs:
    """Sorts by (head, tail) and merges repeated pairs, whose weights are summed and whose latest time is kept.

    The rows' order cannot matter.
    """
    given = Pairs(heads, tails, weights, times)
    if len(heads) == 0:
        return given
    # One int64 key sorts several times faster than lexsort; entity counts leave room for it.
    order = np.argsort(heads * (tails.max() + 1) + tails, kind="stable")
    first = np.ones(len(heads), bool)
    first[1:] = (np.diff(heads[order]) != 0) | (np.diff(tails[order]) != 0)
    if first.all():
        return given.at(order)
    order = np.lexsort((weights, tails, heads))  # sums of floats depend on their order: by weight, too
    kept = order[first]
    starts = np.flatnonzero(first)
    total = np.add.reduceat(weights[order], starts).astype(np.float32)
    return Pairs(heads[kept], tails[kept], total, None if times is None else np.maximum.reduceat(times[order], starts))


def split_codes(split: np.ndarray, origin: str) -> np.ndarray:
    """Positions in `SPLITS`, int8 (n,), of split names."""
    codes = np.full(len(split), -1, np.int8)
    for code, name in enumerate(SPLITS):
        codes[split == name] = code
    if (codes < 0).any():
        found = split[int((codes < 0).argmax())]
        raise InputError(f"{origin}: split {found!r} is none of {', '.join(SPLITS)}")
    return codes


def _kept(columns: dict[str, np.ndarray], wanted: Callable[[np.ndarray], np.ndarray] | None) -> dict[str, np.ndarray]:
    if wanted is None:
        return columns
    kept = wanted(columns["head"])
    return {name: column[kept] for name, column in columns.items()}


def _read_shard(path: Path) -> dict[str, np.ndarray]:
    try:
        names = pq.read_schema(path).names
        missing = [name for name in _COLUMNS if name not in names]
        if missing:
            raise InputError(f"{path}: no column {missing[0]!r}; a triple shard has {', '.join(_COLUMNS)}")
        wanted = [name for name in (*_COLUMNS, _TIMESTAMP) if name in names]
        table = pq.read_table(path, columns=wanted, read_dictionary=["split"], partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: not a readable triple shard: {' '.join(str(error).split())}") from None
    if any(table[name].null_count for name in _COLUMNS):
        raise InputError(f"{path}: a triple shard must not hold empty values")
    columns = {name: table[name].to_numpy() for name in _COLUMNS if name != "split"}
    timed = _TIMESTAMP in wanted
    columns[_TIMESTAMP] = pc.fill_null(table[_TIMESTAMP], 0).to_numpy() if timed else np.zeros(len(table), np.int64)
    split = table["split"].combine_chunks()
    chunks = split.chunks if isinstance(split, pa.ChunkedArray) else [split]
    codes = [_dictionary_codes(chunk, str(path)) for chunk in chunks]
    return {**columns, "split": np.concatenate(codes) if codes else np.zeros(0, np.int8)}


def _dictionary_codes(chunk: pa.Array, origin: str) -> np.ndarray:
    """Codes of one dictionary-encoded chunk: only its few distinct names become Python strings."""
    if not pa.types.is_dictionary(chunk.type):
        chunk = chunk.dictionary_encode()
    indices = chunk.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    used = np.unique(indices)
    names = np.array([chunk.dictionary[int(i)].as_py() for i in used], dtype=object)
    codes = np.zeros(len(chunk.dictionary), np.int8)
    codes[used] = split_codes(names, origin)
    return codes[indices]


def _check_range(indices: np.ndarray, layout: EntityLayout, relation: Relation, end: str, origin: str) -> None:
    kind = relation.head_kind if end == "head" else relation.tail_kind
    start, stop = layout.range(kind)
    outside = (indices < start) | (indices >= stop)
    if outside.any():
        found = int(indices[outside.argmax()])
        raise InputError(f"{origin}: {relation.name}: {end} {found} lies outside the {kind} range [{start}, {stop})")
