"""The models and objectives of `train`, each with its recipe: the values of the settings that are null.

A recipe contains the values that differ from `COMMON`. An objective with its own recipe uses it for every model; the
softmax has none and uses the model's recipe. This module does not import torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kgspark.config import merged

Recipe = Mapping[str, Any]

# TransE with the softmax. It has every key that any recipe sets.
COMMON: Recipe = {
    "dim": 256,
    "epochs": 16,
    "batch_size": 256,
    "negatives": "auto",
    "sampler": "uniform",
    "corrupt_heads": 0.5,
    "filtered": False,
    "temperature": 0.14,
    "softer": 1.0,
    "spare_positives": 0.3,
    "margin": 1.0,
    "l2": 0.0,
    "learning_rate": 2e-3,
    "head_rate": 5.0,
    "schedule": "linear",
    "init": "spectral",
    "validation": {"every": 1, "patience": 4},
}


@dataclass(frozen=True)
class ModelEntry:
    """One model.

    module    the module with its record TOWER; it imports torch, and is imported when the model is built
    recipe    the values that differ from `COMMON`
    can_lean  True if queries can lean towards a user's latest likes; False if a score is a sum of distances
    norm_1    the entry of the model with `norm: 1`, if the model has a norm
    """

    module: str
    recipe: Recipe = field(default_factory=dict)
    can_lean: bool = True
    norm_1: "ModelEntry | None" = None


# Sums over coordinates are larger numbers than the products of unit vectors.
_MANHATTAN = ModelEntry(
    "kgspark.kge.model.transe",
    {
        "dim": 128,
        "temperature": 1.0,
        "spare_positives": 0.0,
        "epochs": 10,
        "learning_rate": 4e-3,
        "head_rate": 10.0,
    },
    can_lean=False,
)
# Only `l2` bounds the inner products of these models: without it they overfit in two epochs. With it they often get
# worse in the first epochs, and are best in the last ones.
_BILINEAR: Recipe = {"dim": 128, "learning_rate": 4e-3, "l2": 0.2, "validation": {"patience": 16}}
# Angles need larger steps than the coordinates of unit vectors. An evaluation takes longer than an epoch.
_ROTATE: Recipe = {
    "dim": 128,
    "temperature": 14.0,
    "epochs": 20,
    "learning_rate": 0.1,
    "head_rate": 3.0,
    "validation": {"every": 4, "patience": 2},
}

MODELS: Mapping[str, ModelEntry] = {
    "transe": ModelEntry("kgspark.kge.model.transe", norm_1=_MANHATTAN),
    "distmult": ModelEntry("kgspark.kge.model.distmult", _BILINEAR),
    "complex": ModelEntry("kgspark.kge.model.complex", _BILINEAR),
    "rotate": ModelEntry("kgspark.kge.model.rotate", _ROTATE, can_lean=False),
    "rescal": ModelEntry("kgspark.kge.model.rescal", _BILINEAR),
    "simple": ModelEntry("kgspark.kge.model.simple", _BILINEAR),
}

# The recipe of the tutorial that the project grew from.
_STOCK: Recipe = {
    "dim": 64,
    "epochs": 20,
    "batch_size": 512,
    "negatives": 1,
    "learning_rate": 1e-3,
    "head_rate": 1.0,
    "schedule": "constant",
    "init": "tgraphx",
}
# BPR and WARP compare a user's likes with movies that the user is not known to like: their negatives are movies.
_RANKING: Recipe = {
    "dim": 128,
    "epochs": 20,
    "batch_size": 4096,
    "negatives": 16,
    "learning_rate": 3e-3,
    "head_rate": 1.0,
    "sampler": "typed",
    "filtered": True,
    "corrupt_heads": 0.0,
    "margin": 0.3,
}

# None: the model's own recipe.
OBJECTIVES: Mapping[str, Recipe | None] = {
    "softmax": None,
    "bpr": _RANKING,
    "warp": _RANKING,
    "softplus": _STOCK,
    "margin": _STOCK,
}


def model_entry(model: str, norm: int) -> ModelEntry:
    """The entry of a model with a norm; models without a norm ignore it."""
    entry = MODELS[model]
    return entry.norm_1 if norm == 1 and entry.norm_1 is not None else entry


def recipe_of(model: str, norm: int, objective: str) -> dict[str, Any]:
    """The values of all settings that may be null."""
    own = OBJECTIVES[objective]
    return merged(COMMON, model_entry(model, norm).recipe if own is None else own)


def by_name() -> dict[str, Recipe]:
    """Every recipe in full, by the choice that selects it: a model, a model with norm 1, or an objective."""
    chosen = {}
    for model, entry in MODELS.items():
        chosen[model] = merged(COMMON, entry.recipe)
        if entry.norm_1 is not None:
            chosen[f"{model}, norm 1"] = merged(COMMON, entry.norm_1.recipe)
    return chosen | {name: merged(COMMON, own) for name, own in OBJECTIVES.items() if own is not None}
