"""bench keys: the gain of each optional key of `train`, one change at a time.

Choose by the validation column only. The test column shows the gain of such a choice, and must not influence it.
"""

from typing import Any

from pydantic import Field

from kgspark.bench.common import Row, Say
from kgspark.bench.variants.variants import VariantsSettings, figure, run_variants
from kgspark.peers.baselines import BaselineName

COLUMNS = {
    "valid NDCG@10": figure("valid", "ndcg@10"),
    "test NDCG@10": figure("ndcg@10"),
    "test Recall@10": figure("recall@10"),
    "seconds": figure("fit_seconds"),
}


class KeysBenchSettings(VariantsSettings):
    """`kgspark bench keys`: the same nights with several seeds, because most keys change less than a seed does."""

    seeds: tuple[int, ...] = Field(
        (42, 43, 44), min_length=1, description="seeds of split and training, one measurement each"
    )
    baselines: tuple[BaselineName, ...] = Field((), description="to compare with the first variant")


SETTINGS = KeysBenchSettings


def _variants(model: str, base: dict[str, Any], changes: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The model with `base` alone, and with each of the changes of `train` merged into it."""
    rows = {model: base} | {f"{model}, {name}": base | change for name, change in changes.items()}
    return {title: {"train": train} for title, train in rows.items()}


_DROPOUT = {"dropout 0.1": {"dropout": 0.1}, "dropout 0.2": {"dropout": 0.2}}
_AVERAGE = {"ema 0.9": {"ema": 0.9}}
_INVERSE = {"inverse relations": {"inverse_relations": True}}
# Lacroix et al. (2018): ComplEx with reciprocal relations, and N3 instead of the recipe's L2.
_N3 = {f"n3 {cost} for l2": {"l2": 0.0, "n3": cost} for cost in (0.01, 0.05, 0.2)}

VARIANTS: dict[str, dict[str, Any]] = {
    **_variants(
        "TransE",
        {},
        {
            **_DROPOUT,
            **_AVERAGE,
            **_INVERSE,
            "top 20": {"top": 20},
            "top 50": {"top": 50},
            "l2 0.01": {"l2": 0.01},
            "l2 0.1": {"l2": 0.1},
            "constant step size": {"schedule": "constant"},
            "constant step size, ema 0.9": {"schedule": "constant", "ema": 0.9},
        },
    ),
    **_variants(
        "ComplEx",
        {"model": "complex"},
        {
            **_DROPOUT,
            **_AVERAGE,
            **_INVERSE,
            "l2 0": {"l2": 0.0},
            **_N3,
            "n3 0.05 for l2, inverse": {"l2": 0.0, "n3": 0.05, "inverse_relations": True},
        },
    ),
    **_variants("BPR", {"objective": "bpr"}, {"half of the heads corrupted": {"corrupt_heads": 0.5}}),
}


def run(settings: KeysBenchSettings, say: Say) -> Row:
    """One row per variant and seed."""
    return run_variants(settings, VARIANTS, COLUMNS, say)
