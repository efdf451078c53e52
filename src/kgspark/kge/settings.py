"""Settings of the training stage; importable without torch, so that a configuration can be checked anywhere."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ModelWrapValidatorHandler, model_validator

from kgspark.config import Settings, merged
from kgspark.tables import TEST, TRAIN, VALID

ModelName = Literal["transe", "distmult", "complex", "rotate", "rescal", "simple"]
Objective = Literal["softmax", "bpr", "warp", "softplus", "margin"]
Sampler = Literal["uniform", "bernoulli", "typed"]

# What a key defaults to under an objective or a model. The fields' own defaults are TransE's with the softmax.
# softplus and margin: the tutorial's recipe.
_STOCK_RECIPE: dict[str, Any] = {
    "dim": 64,
    "epochs": 20,
    "batch_size": 512,
    "negatives": 1,
    "learning_rate": 1e-3,
    "head_rate": 1.0,
    "schedule": "constant",
    "init": "tgraphx",
}
# BPR and WARP compare what a user likes with what the user is not known to like: tails alone, of the right kind.
_RANKING_RECIPE: dict[str, Any] = {
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
_RECIPES = {"softplus": _STOCK_RECIPE, "margin": _STOCK_RECIPE, "bpr": _RANKING_RECIPE, "warp": _RANKING_RECIPE}
# Nothing else bounds the inner products of the other models: without a cost of long vectors they overfit in two epochs.
# With it they often dip in the first epochs, and are best in the last ones.
_BILINEAR_RECIPE: dict[str, Any] = {"dim": 128, "learning_rate": 4e-3, "l2": 0.2, "validation": {"patience": 16}}
# Distances that are sums over coordinates are on a larger scale, and so are angles beside unit vectors' coordinates.
_MANHATTAN_RECIPE: dict[str, Any] = {
    "dim": 128,
    "temperature": 1.0,
    "spare_positives": 0.0,
    "epochs": 10,
    "learning_rate": 4e-3,
    "head_rate": 10.0,
}
_ROTATE_RECIPE: dict[str, Any] = {
    "dim": 128,
    "temperature": 14.0,
    "epochs": 20,
    "learning_rate": 0.1,
    "head_rate": 3.0,
    # A look at the validation likes sums up moduli, and takes longer than an epoch.
    "validation": {"every": 4, "patience": 2},
}


_RENAMED = {
    "k": "validation.k",
    "eval_users": "validation.users",
    "eval_every": "validation.every",
    "patience": "validation.patience",
    "facts_prior": "export.facts_prior",
    "recent_share": "export.recent_share",
    "recent_half_life": "export.recent_half_life",
}


class ValidationSettings(Settings):
    """Measurements on the validation likes during training, and on the test likes at its end."""

    k: int = Field(10, ge=1, description="length of the lists that are measured")
    users: int = Field(20_000, ge=0, description="users who are measured, evenly chosen; 0 for all")
    every: int = Field(1, ge=1, description="epochs between two evaluations")
    patience: int = Field(4, ge=1, description="evaluations without a better NDCG after which training stops early")


class ExportSettings(Settings):
    """The step from the trained weights to the vectors that retrieval ranks with."""

    facts_prior: float = Field(
        10.0, ge=0, description="likes that a movie's facts count as much as; 0: for movies that nobody rated alone"
    )
    recent_share: Literal["auto"] | Annotated[float, Field(ge=0, le=1)] = Field(
        "auto",
        description="how far a user's query leans towards the latest likes: a share, or auto, which lets the "
        "validation likes choose one (TransE's norm 1 and RotatE: 0)",
    )
    recent_half_life: float = Field(
        1.0, gt=0, description="places in a user's likes, the latest first, after which one counts half as much"
    )


class TrainSettings(Settings):
    """How the embeddings are trained.

    Keys that are left out take the defaults of the chosen objective and model: `softmax` is the softmax over typed
    ranges, `bpr` and `warp` rank sampled tails, `softplus` and `margin` are the tutorial's stock recipe.
    """

    former = {old: f"renamed; write train.{new}" for old, new in _RENAMED.items()} | {
        "weight_decay": "removed; train.l2 bounds the vectors"
    }

    model: ModelName = Field("transe", description="tgraphx model: transe, distmult, complex, rotate, rescal or simple")
    norm: Literal[1, 2] = Field(2, description="TransE's distance: 1 (Manhattan) or 2 (Euclidean)")
    dim: int = Field(256, ge=1, description="numbers per entity part; ComplEx, RotatE and SimplE hold two parts")
    target: str = Field("liked", min_length=1, description="the relation, user to movie, that is recommended from")

    objective: Objective = Field(
        "softmax",
        description="softmax (1-vs-all over typed ranges); or with sampled negatives bpr, warp, softplus or margin",
    )
    epochs: int = Field(16, ge=1, description="passes over the training triples")
    batch_size: int = Field(256, ge=1, description="heads a step (softmax) or triples a step (the others)")
    negatives: Literal["auto"] | Annotated[int, Field(ge=0)] = Field(
        "auto",
        description="softmax: tails sampled a step, 0 for all of the kind; auto samples where there are more than "
        "32,768, or memory does not hold all; the others: negatives a positive",
    )
    sampler: Sampler = Field(
        "uniform", description="negatives of the others: uniform over all entities, bernoulli, or typed"
    )
    corrupt_heads: float = Field(
        0.5, ge=0, le=1, description="share of negatives that replace the head, not the tail (uniform, typed)"
    )
    filtered: bool = Field(False, description="whether no known triple is ever drawn as a negative")
    temperature: float = Field(0.14, gt=0, description="scores are divided by it (softmax, bpr)")
    spare_positives: float = Field(
        0.3, ge=0, lt=1, description="share of a head's other positives left out of the softmax's denominator"
    )
    margin: float = Field(1.0, gt=0, description="gap that margin and warp ask for")
    inverse_relations: bool = Field(
        False, description="learn every relation from tail to head too, as a relation of its own"
    )
    l2: float = Field(0.0, ge=0, description="cost of a batch's squared coordinates, per positive")
    n3: float = Field(0.0, ge=0, description="cost of a batch's cubed coordinates, per positive (Lacroix et al. 2018)")

    learning_rate: float = Field(2e-3, gt=0, description="Adam's step size at the start")
    head_rate: float = Field(
        5.0, gt=0, description="step-size factor of entities that are only heads (users): they are met once an epoch"
    )
    schedule: Literal["linear", "constant"] = Field("linear", description="step size over the epochs: linear to zero")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of query coordinates dropped in the softmax objective")
    ema: float = Field(0.0, ge=0, lt=1, description="decay, an epoch, of the weights' moving average; 0 turns it off")
    init: Literal["spectral", "normal", "tgraphx"] = Field(
        "spectral", description="first vectors: truncated SVD of the target relation, N(0, 1/dim), or tgraphx's own"
    )

    validation: ValidationSettings = Field(
        default_factory=ValidationSettings, description="measurements during training, and at its end"
    )
    export: ExportSettings = Field(default_factory=ExportSettings, description="the vectors that retrieval ranks with")
    refit: Literal["none", "continue", "anew"] = Field(
        "continue",
        description="after the test metrics were taken, held-out likes are learned too: by one more epoch, or by a "
        "training anew of as many epochs as were best",
    )
    refit_on: Literal["all", "train+valid"] = Field(
        "all", description="the likes that a refit learns: all, or (to measure its vectors) train+valid"
    )

    seed: int = Field(42, ge=0, description="seed of everything random")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N")
    threads: int = Field(0, ge=0, description="CPU threads; 0 for all available")
    workers: int = Field(
        1,
        ge=1,
        description="processes that train together, each with its own users: on the driver's machine where Spark is "
        "local, else on executors",
    )
    checkpoint_every: int = Field(5, ge=0, description="epochs between two checkpoints; 0 for none")
    warm_start: str = Field(
        "none", min_length=1, description="none, or the date of the run whose vectors training starts from"
    )

    def with_recent_share(self, share: float) -> "TrainSettings":
        """The settings with a share of their own in the place of auto."""
        return self.model_copy(update={"export": self.export.model_copy(update={"recent_share": share})})

    @property
    def sample_size(self) -> int:
        """`negatives` as a number: 0 where it is auto, until `fitting.fitted` has chosen."""
        return 0 if self.negatives == "auto" else self.negatives

    @property
    def learned_splits(self) -> tuple[str, ...]:
        """The splits that the final weights have seen."""
        if self.refit == "none":
            return (TRAIN,)
        return (TRAIN, VALID, TEST) if self.refit_on == "all" else (TRAIN, VALID)

    @model_validator(mode="after")
    def _queries_can_lean(self) -> "TrainSettings":
        sums_distances = self.model == "rotate" or (self.model, self.norm) == ("transe", 1)
        if sums_distances and self.export.recent_share not in ("auto", 0):
            raise ValueError(
                "export.recent_share is for models that rank by inner products: not RotatE, nor TransE's norm 1"
            )
        return self

    @model_validator(mode="after")
    def _users_can_be_shared_out(self) -> "TrainSettings":
        if self.workers > 1 and (self.objective != "softmax" or self.inverse_relations):
            raise ValueError("workers above 1 need objective softmax and no inverse_relations, which make users tails")
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _recipe_defaults(cls, given: Any, handler: ModelWrapValidatorHandler["TrainSettings"]) -> "TrainSettings":
        if not isinstance(given, dict):
            return handler(given)
        if given.get("negatives") == "auto":  # the objective's own
            given = {name: value for name, value in given.items() if name != "negatives"}
        recipe = _recipe(given)
        settings = handler(merged(recipe, given))
        # A recipe's values are defaults: what is set is what was given, so that another model takes its own recipe.
        settings.model_fields_set.difference_update(recipe.keys() - given.keys())
        return settings

    def changed(self, changes: Mapping[str, Any]) -> "TrainSettings":
        """The settings that `changes` laid over what was given make; ValidationError where they do not fit."""
        given = {name: self.model_dump(exclude_unset=True)[name] for name in self.model_fields_set}
        return TrainSettings.model_validate(merged(given, changes))


def _recipe(given: Mapping[str, Any]) -> dict[str, Any]:
    if given.get("objective") in _RECIPES:
        return _RECIPES[given["objective"]]
    if given.get("model") in ("distmult", "complex", "rescal", "simple"):
        return _BILINEAR_RECIPE
    if given.get("model") == "rotate":
        return _ROTATE_RECIPE
    if given.get("norm") == 1:
        return _MANHATTAN_RECIPE
    return {}
