"""The trained encoders of histories with NumPy alone: the arithmetic of `kge.model.history_sums` and `history_network`.

The formulas stand there; products are float32, as they are where the night makes its queries.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

import numpy as np

from kgspark.graph.decays import decay_weighted
from kgspark.graph.histories import Histories
from kgspark.graph.places import Block, Places, users_by_block

# Of the tables that the network has as a whole; the others have one row per movie.
_WHOLE = "network."
_ITEM = "item"
# torch's layer norm adds it to a variance.
_SMALLEST_VARIANCE = 1e-5
# Abramowitz and Stegun 1964, “Handbook of mathematical functions”, 7.1.26: erf with an error below 1.5e-7.
_ERF_SCALE, _ERF = 0.3275911, (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)


class Encoder(Protocol):
    """A trained encoder of histories."""

    def vectors(self, likes: Histories, asked: np.ndarray | None = None) -> np.ndarray:
        """The part of the queries float32 (U, n) that comes from `likes`, which have times; zeros without likes.

        asked  float64 (U,): the times, in seconds since 1970, that the lists are for; None if they are not known
        """

    def ranked(self, queries: np.ndarray) -> np.ndarray:
        """The model's queries float32 (U, width) as vectors (U, n) that go with `vectors`."""


@dataclass(frozen=True)
class Sums:
    """Decayed sums; `maps` float32 (movies, width) by half-life in places."""

    maps: Mapping[float, np.ndarray]

    def vectors(self, likes: Histories, asked: np.ndarray | None = None) -> np.ndarray:
        """See `Encoder`; `asked` changes nothing."""
        latest_first = likes.in_order(latest_first=True)
        parts = []
        for half_life, table in self.maps.items():
            kept = decay_weighted(latest_first, half_life)
            parts.append(sum_by_user(kept, table, kept.entry_weights))
        return reduce(np.add, parts)

    def ranked(self, queries: np.ndarray) -> np.ndarray:
        """The queries as they are."""
        return queries


@dataclass(frozen=True)
class Network:
    """Decayed sums and a causal network: `item` X float32 (movies, width), and the tables of the network by name."""

    sums: Sums
    item: np.ndarray
    tables: Mapping[str, np.ndarray]

    def vectors(self, likes: Histories, asked: np.ndarray | None = None) -> np.ndarray:
        """See `Encoder`: [e, 1]."""
        vectors = self.sums.vectors(likes)
        ordered = likes.in_order()
        places = Places.of(ordered, asked)
        last, sizes = ordered.indptr[1:], np.minimum(ordered.sizes, int(self.tables["places"][0]))
        for users, width in users_by_block(sizes):
            block = places.block(last[users] - sizes[users], last[users], width)
            vectors[users] += self._latest(block)
        return np.concatenate([vectors, (sizes > 0)[:, None].astype(np.float32)], axis=1)

    def ranked(self, queries: np.ndarray) -> np.ndarray:
        """[q, 0]."""
        return np.pad(queries, ((0, 0), (0, 1)))

    def _latest(self, block: Block) -> np.ndarray:
        """P x''' float32 (B, width) at the latest place of every user of the block."""
        tables = self.tables
        x = self.item[block.movies] + tables["weights"][block.weights]
        x = x + tables["gaps"][block.gaps] + tables["waits"][block.waits]
        places = np.arange(x.shape[1])
        distance = places[:, None] - places[None]
        number = 0
        while f"blocks.{number}.log_rates" in tables:
            x = self._mixed(x, f"blocks.{number}.", block.present, distance)
            number += 1
        return self._linear("out", self._normed("last", x[:, -1]))

    def _mixed(self, x: np.ndarray, block: str, present: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """x float32 (B, n, width) after one block of the network."""
        normed = self._normed(f"{block}before", x)
        values = self._linear(f"{block}value", normed) * present[..., None]
        rates = np.exp(self.tables[f"{block}log_rates"])[:, None, None]
        decays = np.exp(-np.maximum(distance, 0) * rates) * (distance >= 0)  # (heads, n, n)
        by_head = values.reshape(*x.shape[:2], len(rates), -1).transpose(0, 2, 1, 3)
        sums = _standard(decays.astype(np.float32) @ by_head).transpose(0, 2, 1, 3).reshape(x.shape)
        x = x + self._linear(f"{block}mix", sums * _silu(self._linear(f"{block}gate", normed)))
        dense = _gelu(self._linear(f"{block}up", self._normed(f"{block}between", x)))
        return x + self._linear(f"{block}down", dense)

    def _linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return np.asarray(x @ self.tables[f"{name}.weight"].T + self.tables[f"{name}.bias"])

    def _normed(self, name: str, x: np.ndarray) -> np.ndarray:
        return _standard(x) * self.tables[f"{name}.weight"] + self.tables[f"{name}.bias"]


def encoder_of(tables: Mapping[str, np.ndarray]) -> Encoder | None:
    """The encoder of float32 `tables` by their name after `kge.model.history.PREFIX`; None without any.

    Those that `is_needed` does not name are not read.
    """
    if not tables:
        return None
    names = [name for name in tables if is_movie_table(name) and name != _ITEM and is_needed(name)]
    sums = Sums({float(name): tables[name] for name in sorted(names, key=float)})
    whole = {name.removeprefix(_WHOLE): table for name, table in tables.items() if not is_movie_table(name)}
    return Network(sums, tables[_ITEM], whole) if whole else sums


def is_movie_table(name: str) -> bool:
    """True for a table with one row per movie."""
    return not name.startswith(_WHOLE)


def is_needed(name: str) -> bool:
    """True for a table that queries read; the others belong to the items, which the search space has."""
    return name not in ("output", "bias")


def sum_by_user(likes: Histories, vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Σ weight · vector over the likes of each user, float32 (U, width)."""
    weighted = vectors[likes.indices] * weights[:, None].astype(np.float32)
    ends = np.concatenate([np.zeros((1, vectors.shape[1])), np.cumsum(weighted, axis=0, dtype=np.float64)])
    return (ends[likes.indptr[1:]] - ends[likes.indptr[:-1]]).astype(np.float32)


def _standard(x: np.ndarray) -> np.ndarray:
    """x with mean 0 and variance 1 along the last axis."""
    centred = x - x.mean(axis=-1, keepdims=True)
    return np.asarray(centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + np.float32(_SMALLEST_VARIANCE)))


def _silu(x: np.ndarray) -> np.ndarray:
    return np.asarray(x * (0.5 + 0.5 * np.tanh(0.5 * x)))


def _gelu(x: np.ndarray) -> np.ndarray:
    """x Φ(x), with the normal distribution Φ."""
    size = np.abs(x) / np.float32(math.sqrt(2))
    part = 1 / (1 + np.float32(_ERF_SCALE) * size)
    polynomial = reduce(lambda total, factor: total * part + np.float32(factor), _ERF, np.zeros_like(x)) * part
    erf = np.sign(x) * (1 - polynomial * np.exp(-(size**2)))
    return np.asarray(x * (0.5 + 0.5 * erf), np.float32)
