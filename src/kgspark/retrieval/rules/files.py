"""The business rules on a disk that every machine can read: written once by the stage, mapped by every worker.

A folder holds `plan.json` and, as rules need them, `factor.npy`, `addend.npy`, `groups.npy` and `limits.npy` (see
`Boosts` and `Caps`), and the folders `pins/<n>/` and `few/<n>/`, one per segment, with `movies.npy` and `users.npy`.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from kgspark.retrieval.pool_files import offered_by_segment
from kgspark.retrieval.rules.boosts import Boosts
from kgspark.retrieval.rules.caps import Caps
from kgspark.retrieval.rules.placed import Draw, MoviesOfUsers, in_order_of_hash, seed_of
from kgspark.retrieval.rules.plan import RulePlan
from kgspark.retrieval.rules.rules import Rules
from kgspark.tables import CANDIDATES, RATINGS, RULES, Columns

# No list is as long.
_NO_LIMIT = 2**31 - 1


def write_rules(folder: Path, plan: RulePlan, tables: Path, is_restricted: bool, placed: np.ndarray) -> None:
    """Writes the rules into the new `folder`.

    tables         holds the table `rules`, if a rule looks at movies, and `segments` and `candidates`, if
    is_restricted
    placed         mask bool (M,): the movies that have a vector of their own, which alone are drawn
    """
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text(json.dumps(plan.to_json()), encoding="utf-8")
    candidates = tables / CANDIDATES if is_restricted else None
    if plan.looks_at_movies:
        movies = read_movie_rules(tables / RULES)
        _write_arrays(folder, plan, movies)
        if plan.share:
            few = placed & (movies[RATINGS].to_numpy() <= plan.few)
            _write_lists(folder / "few", _few(plan, few, tables if is_restricted else None))
    if candidates is not None and Columns.PLACE in ds.dataset(sorted(candidates.glob("*.parquet"))).schema.names:
        _write_lists(folder / "pins", _pins(tables))


def read_movie_rules(folder: Path) -> pa.Table:
    """The table `rules`, one row per movie, by position."""
    table: pa.Table = ds.dataset(sorted(folder.glob("*.parquet"))).to_table()
    return table.sort_by(Columns.POSITION)


def numbers_of(movies: pa.Table, boosts: int) -> np.ndarray:
    """The numbers float64 (M, boosts) of the movies' boosts."""
    flat = movies[Columns.BOOSTS].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.astype(np.float64).reshape(-1, boosts)


def caps_of(movies: pa.Table, at_most: Sequence[int]) -> Caps:
    """The caps of the groups of the movies: a list of texts per rule and movie.

    at_most  of each rule, the most rows of one group
    """
    rules = len(at_most)
    per_rule = movies[Columns.GROUPS].combine_chunks()
    texts = per_rule.flatten()  # (M · rules,) lists of texts
    names = texts.flatten()
    cells = np.asarray(pc.list_parent_indices(texts)).astype(np.int64)
    owner, rule = cells // rules, cells % rules
    # A group is a text of a rule: two rules may have the same text.
    text = pc.dictionary_encode(names).indices.to_numpy().astype(np.int64) if len(names) else np.empty(0, np.int64)
    groups, number = np.unique(text * rules + rule, return_inverse=True)
    sizes = np.bincount(owner, minlength=len(movies))
    padded = np.full((len(movies), max(1, sizes.max(initial=0))), len(groups), np.int32)
    padded[owner, np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)] = number
    return Caps(padded, np.append(np.asarray(at_most, np.int64)[groups % rules], _NO_LIMIT))


def load_rules(folder: Path) -> Rules:
    """The rules that `write_rules` wrote, memory-mapped."""
    plan = RulePlan.from_json(json.loads((folder / "plan.json").read_text(encoding="utf-8")))
    arrays = _mapped(folder)
    few = _load_lists(folder / "few")
    return Rules(
        plan,
        Boosts(arrays["factor"], arrays["addend"]) if plan.boosts else None,
        Caps(arrays["groups"], arrays["limits"]) if plan.at_most else None,
        _load_lists(folder / "pins"),
        Draw(few, seed_of(plan.seed, plan.date)) if few else None,
    )


def _write_arrays(folder: Path, plan: RulePlan, movies: pa.Table) -> None:
    if plan.boosts:
        boosts = Boosts.of(plan.boosts, numbers_of(movies, len(plan.boosts)))
        np.save(folder / "factor.npy", boosts.factor)
        np.save(folder / "addend.npy", boosts.addend)
    if plan.at_most:
        caps = caps_of(movies, plan.at_most)
        np.save(folder / "groups.npy", caps.groups)
        np.save(folder / "limits.npy", caps.limits)


def _few(plan: RulePlan, few: np.ndarray, candidates: Path | None) -> list[MoviesOfUsers]:
    """The movies of the mask `few` bool (M,) that are offered to each segment, in the order of their hash."""
    seed = seed_of(plan.seed, plan.date)
    if candidates is None:
        return [MoviesOfUsers(in_order_of_hash(np.flatnonzero(few), seed))]
    return [
        MoviesOfUsers(in_order_of_hash(movies[few[movies]], seed), users)
        for _, users, movies in offered_by_segment(candidates)
    ]


def _pins(candidates: Path) -> list[MoviesOfUsers]:
    """The pinned movies that are offered to each segment, in order."""
    columns = [Columns.SEGMENT, Columns.PLACE, Columns.POSITION]
    offered = ds.dataset(sorted((candidates / CANDIDATES).glob("*.parquet"))).to_table(columns=columns)
    pins = offered.filter(pc.is_valid(offered[Columns.PLACE])).sort_by(Columns.PLACE)
    lists = []
    for segment, users, _ in offered_by_segment(candidates):
        movies = pins.filter(pc.field(Columns.SEGMENT) == segment)[Columns.POSITION].to_numpy()
        lists.append(MoviesOfUsers(movies, users))
    return lists


def _write_lists(folder: Path, lists: Sequence[MoviesOfUsers]) -> None:
    folder.mkdir()
    for number, each in enumerate(each for each in lists if len(each.movies)):
        (folder / str(number)).mkdir()
        np.save(folder / str(number) / "movies.npy", each.movies)
        if each.users is not None:
            np.save(folder / str(number) / "users.npy", each.users)


def _load_lists(folder: Path) -> tuple[MoviesOfUsers, ...]:
    if not folder.is_dir():
        return ()
    found = sorted(folder.iterdir(), key=lambda path: int(path.name))
    arrays = [_mapped(path) for path in found]
    return tuple(MoviesOfUsers(each["movies"], each.get("users")) for each in arrays)


def _mapped(folder: Path) -> dict[str, np.ndarray]:
    return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in folder.glob("*.npy")}
