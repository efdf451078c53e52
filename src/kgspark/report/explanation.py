"""An explanation of a score as text."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kgspark.names import Names

_FACTS_SHOWN = 6


def explanation_lines(explained: Mapping[str, Any], names: Names) -> Iterator[str]:
    """The lines of `kgspark explain`, for the fields of an explanation."""
    title = explained["title"] or f"{names.movie} {explained['movie']}"
    yield f"{title} for {names.user} {explained['user']}: {_place(explained, names)}"
    if explained["score"] is None:
        yield f"The model has no vector for the {names.user} or for the {names.movie}, so popularity ranks here."
        return
    likes = explained["liked"]
    yield ""
    yield f"  {'share':>8}  {'likeness':>8}  the nearest likes" if likes else "No likes are known."
    for like in likes:
        yield f"  {_number(like['share'])}  {like['likeness']:8.3f}  {like['title'] or like['movie']}"
        if like["facts"]:
            yield f"{'':22}{_facts(like['facts'])}"
    if not explained["divided"]:
        yield f"  {_number(explained['score'])}  {'':8}  the query as a whole: {_why_whole(likes)}"
        return
    if explained["other_count"]:
        others = "other like" if explained["other_count"] == 1 else "other likes"
        yield f"  {_number(explained['other_likes'])}  {'':8}  {explained['other_count']:,} {others}"
    if explained["trend"]:
        yield f"  {_number(explained['trend'])}  {'':8}  popular of late"
    yield f"  {_number(explained['rest'])}  {'':8}  the rest of the query"
    yield f"  {_number(explained['score'])}  {'':8}  the score"


def _why_whole(likes: Sequence[Mapping[str, Any]]) -> str:
    return "with this model it is no function of the likes" if likes else "without likes it is made from other facts"


def _place(explained: Mapping[str, Any], names: Names) -> str:
    if explained["state"] == "seen":
        return f"the {names.user} has rated or seen it, so no list has it"
    if explained["state"] == "not offered":
        return f"it is not offered to this {names.user}"
    rank = "it is in no list" if explained["rank"] is None else f"rank {explained['rank']:,}"
    return rank if explained["score"] is None else f"{rank}, score {explained['score']:.4f} ({explained['source']})"


def _number(value: float | None) -> str:
    return f"{'':8}" if value is None else f"{value:8.4f}"


def _facts(facts: Sequence[Mapping[str, Any]]) -> str:
    shown = [
        f"{fact['relation']} each other" if fact["direct"] else f"{fact['relation']} {fact['entity']}"
        for fact in facts[:_FACTS_SHOWN]
    ]
    more = f" and {len(facts) - _FACTS_SHOWN} more" if len(facts) > _FACTS_SHOWN else ""
    return f"both {', '.join(shown)}{more}"
