"""Settings of the training stage; importable without torch, so that a configuration can be checked anywhere."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator

from kgspark.config import OneOf, Settings, merged
from kgspark.kge.recipes import MODELS, OBJECTIVES, model_entry, recipe_of
from kgspark.tables import TEST, TRAIN, VALID

Sampler = Literal["uniform", "bernoulli", "typed"]
Schedule = Literal["linear", "constant"]
Init = Literal["spectral", "normal", "tgraphx"]
RefitOn = Literal["all", "train+valid"]

# The keys that belonged to `train` itself before they were grouped.
_RENAMED = {
    "k": "validation.k",
    "eval_users": "validation.users",
    "eval_every": "validation.every",
    "patience": "validation.patience",
    "facts_prior": "export.facts_prior",
    "recent_share": "export.recent_share",
    "recent_half_life": "export.recent_half_life",
}


class ValidationSection(Settings):
    """Evaluations: on the validation likes during training, and on the test likes at its end."""

    k: int = Field(10, ge=1, description="length of the evaluated lists")
    users: int = Field(20_000, ge=0, description="number of users to evaluate, evenly chosen; 0 for all")
    every: int | None = Field(None, ge=1, description="epochs between two evaluations")
    patience: int | None = Field(
        None, ge=1, description="training stops early after this many evaluations without a better NDCG"
    )


class ValidationSettings(ValidationSection):
    """The section without null: every value is known."""

    every: int
    patience: int


class ExportSettings(Settings):
    """The step from the trained weights to the vectors that retrieval ranks with."""

    facts_prior: float = Field(
        10.0,
        ge=0,
        description="a movie's facts count as much as so many likes; 0: only for movies without any rating",
    )
    recent_share: Literal["auto"] | Annotated[float, Field(ge=0, le=1)] = Field(
        "auto",
        description="fraction of the query that comes from the user's latest likes, by train.history; auto: validation "
        "likes choose it if they are later, else the past weeks (0 for TransE's norm 1 and RotatE)",
    )
    recent_half_life: float = Field(
        1.0, gt=0, description="a user's likes, the latest first, lose half of their weight after this many positions"
    )
    trend_weight: Literal["auto"] | Annotated[float, Field(ge=0)] = Field(
        "auto",
        description="weight of what is popular of late: the exponent of a movie's share of the latest likes; auto: the "
        "likes of the past weeks choose it (0 for TransE's norm 1 and RotatE)",
    )
    trend_half_life: Literal["auto"] | Annotated[float, Field(gt=0)] = Field(
        "auto",
        description="a like loses half of its weight in the trend after so many days; auto: chosen with the weight",
    )
    when: Literal["auto", "tomorrow", "unknown"] = Field(
        "auto",
        description="the time that queries of history.encoder=network ask for: tomorrow (noon of the day after the "
        "latest like), or unknown; auto: tomorrow if validation likes of later days, or the past weeks, are found "
        "clearly better",
    )
    audience_activity: float = Field(
        0.5,
        ge=0,
        le=1,
        description="weight of a user's number of likes in audiences: 0 compares only what each user likes most, "
        "1 orders users by the expected number of likes",
    )


class NetworkSettings(Settings):
    """The network of history.encoder=network; half_lives, places and batch_size are those of the section history."""

    blocks: int = Field(3, ge=1, description="layers that mix the places of a history, each followed by a dense one")
    epochs: int = Field(8, ge=1, description="passes over all places of the histories; more if data are small")
    learning_rate: float = Field(0.003, gt=0, description="Adam's step size after the first steps; it falls to zero")
    dropout: float = Field(0.4, ge=0, lt=1, description="fraction of likes and of coordinates dropped in training")


class HistorySettings(Settings):
    """The part of a query that is made from the user's likes in order of time. It is trained after the model."""

    encoder: Literal["sums", "network", "latest"] = Field(
        "sums",
        description="sums: decayed sums of trained vectors, which learn what follows what; network: sums and a causal "
        "network, better and slower; latest: the mean of the latest likes' own vectors, by "
        "train.export.recent_half_life, without training",
    )
    half_lives: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (0.5, 2.0, 10.0),
        min_length=1,
        description="a like loses half of its weight after this many further likes; one table of vectors for each",
    )
    epochs: int = Field(3, ge=1, description="passes over all places of the histories; more if data are small")
    learning_rate: float = Field(0.01, gt=0, description="Adam's step size at the start; it falls to zero linearly")
    dropout: float = Field(0.3, ge=0, lt=1, description="fraction of the likes that a place does not see in training")
    places: int = Field(
        200,
        ge=1,
        le=2000,
        description="largest number of a user's latest likes in training; the network learns from all, in windows of "
        "so many",
    )
    batch_size: int = Field(4800, ge=1, description="places per step")
    network: NetworkSettings = Field(default_factory=NetworkSettings)

    @field_validator("half_lives")
    @classmethod
    def _are_distinct(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(values)) < len(values):
            raise ValueError("every half-life must be another number")
        return tuple(sorted(values))


class TrainSection(Settings):
    """The embeddings. A key that is null takes its value from the recipe of the model or the objective."""

    former = {old: f"renamed; write train.{new}" for old, new in _RENAMED.items()} | {
        "weight_decay": "removed; train.l2 bounds the vectors"
    }

    model: Annotated[str, OneOf(MODELS)] = Field("transe", description="the tgraphx model")
    norm: Literal[1, 2] = Field(2, description="TransE's distance: 1 (Manhattan) or 2 (Euclidean)")
    dim: int | None = Field(
        None, ge=1, description="numbers per part of an entity; ComplEx, RotatE and SimplE have two parts"
    )
    target: str = Field("liked", min_length=1, description="the relation, from user to movie, to recommend from")
    objective: Annotated[str, OneOf(OBJECTIVES)] = Field(
        "softmax", description="softmax: 1-vs-all over typed ranges; the others sample negatives"
    )
    epochs: int | None = Field(
        None,
        ge=0,
        description="passes over the training triples; 0 trains nothing and serves the model of warm_start",
    )
    batch_size: int | None = Field(None, ge=1, description="heads per step (softmax) or triples per step (the others)")
    negatives: Literal["auto"] | Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="softmax: tails sampled per step, 0 for all of the kind; auto samples if there are more than "
        "32,768, or if memory is too small for all; other objectives: negatives per positive",
    )
    sampler: Sampler | None = Field(
        None, description="negatives of the other objectives: uniform over all entities, bernoulli, or typed"
    )
    corrupt_heads: float | None = Field(
        None, ge=0, le=1, description="fraction of negatives that replace the head, not the tail (uniform, typed)"
    )
    filtered: bool | None = Field(None, description="never draw a known triple as a negative")
    temperature: float | None = Field(None, gt=0, description="scores are divided by it (softmax, bpr)")
    softer: float | None = Field(
        None,
        ge=1,
        description="where validation likes are later than all others (split.protocol: time), two short trainings "
        "choose between temperature and so many times it; 1 chooses none",
    )
    spare_positives: float | None = Field(
        None, ge=0, lt=1, description="fraction of a head's other positives left out of the softmax's denominator"
    )
    top: int = Field(
        0,
        ge=0,
        description="softmax: a positive counts the more, the nearer its score is to the first so many of the head's "
        "scores or above them; 0: all count alike",
    )
    margin: float | None = Field(None, gt=0, description="wanted gap between a positive and a negative (margin, warp)")
    inverse_relations: bool = Field(
        False, description="also learn every relation from tail to head, as a separate relation"
    )
    side_relations: Literal["always", "auto", "never"] = Field(
        "always",
        description="learn the relations that are made neither from ratings nor from likes (genres, tags, your own); "
        "auto: not if validation likes are found better without, by two short trainings; they state facts in any case",
    )
    l2: float | None = Field(None, ge=0, description="cost of a batch's squared coordinates, per positive")
    n3: float = Field(0.0, ge=0, description="cost of a batch's cubed coordinates, per positive (Lacroix et al. 2018)")
    learning_rate: float | None = Field(None, gt=0, description="Adam's step size at the start")
    head_rate: float | None = Field(
        None,
        gt=0,
        description="step-size factor of entities that are only heads (users): they are updated once per epoch",
    )
    schedule: Schedule | None = Field(None, description="step size over the epochs: linear falls to zero")
    dropout: float = Field(
        0.0, ge=0, lt=1, description="fraction of query coordinates dropped in the softmax objective"
    )
    ema: float = Field(0.0, ge=0, lt=1, description="decay, per epoch, of the weights' moving average; 0 turns it off")
    init: Init | None = Field(
        None,
        description="first vectors: spectral (SVD of the target's triples), normal (N(0, 1/dim)), or tgraphx's own",
    )
    validation: ValidationSection = Field(default_factory=ValidationSection)
    history: HistorySettings = Field(default_factory=HistorySettings)
    export: ExportSettings = Field(default_factory=ExportSettings)
    refit: Literal["none", "continue", "anew"] = Field(
        "continue",
        description="after the test metrics, held-out likes are learned too: by one more epoch (continue), "
        "or by a new training with the best number of epochs (anew), or not at all (none)",
    )
    seed: int = Field(42, ge=0, description="seed of everything random")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N")
    threads: int = Field(0, ge=0, description="CPU threads; 0 for all available")
    workers: int = Field(
        1,
        ge=1,
        description="processes that train together, each with its own users: on the driver's machine if Spark is "
        "local, else on executors (which then need torch)",
    )
    checkpoint_every: int = Field(5, ge=0, description="epochs between two checkpoints; 0 for none")
    warm_start: str = Field(
        "none",
        pattern=r"^(\d{4}-\d\d-\d\d|latest|none)$",
        description="date of the run whose vectors training starts from; latest: the newest earlier one that was "
        "published, if its vectors fit; or none",
    )
    warm_epochs: int = Field(5, ge=1, description="passes over the training triples if training starts from vectors")

    @property
    def serves(self) -> bool:
        """True if nothing is trained, and the model of `warm_start` is served."""
        return self.epochs == 0

    # Set by evaluations; it is not a key of a configuration.
    _refit_on: RefitOn = PrivateAttr("all")

    @model_validator(mode="after")
    def _queries_can_lean(self) -> "TrainSection":
        for key in ("recent_share", "trend_weight"):
            if not model_entry(self.model, self.norm).can_lean and getattr(self.export, key) not in ("auto", 0):
                raise ValueError(
                    f"export.{key} is for models that rank by inner products: not RotatE, nor TransE's norm 1"
                )
        return self

    @model_validator(mode="after")
    def _serves_a_model(self) -> "TrainSection":
        if self.serves and self.warm_start == "none":
            raise ValueError(
                "epochs=0 trains nothing; set warm_start to latest, or to the date of the night whose model is served"
            )
        return self

    @model_validator(mode="after")
    def _users_can_be_shared_out(self) -> "TrainSection":
        if self.workers > 1 and (self.objective != "softmax" or self.inverse_relations):
            raise ValueError("workers above 1 need objective softmax and no inverse_relations, which make users tails")
        return self

    @model_validator(mode="after")
    def _workers_learn_all_relations(self) -> "TrainSection":
        if self.workers > 1 and self.side_relations != "always":
            raise ValueError("workers above 1 read all relations from the shards, so side_relations must be always")
        return self

    def resolved(self) -> "TrainSettings":
        """The settings that training reads; the recipe's value replaces every null."""
        return TrainSettings.model_validate(self.model_dump(exclude_none=True) | {"refit_on": self._refit_on})

    def changed(self, changes: Mapping[str, Any]) -> "TrainSection":
        """The section with `changes` merged into it, in the form of a file; ValidationError if they do not fit."""
        section = TrainSection.model_validate(merged(self.model_dump(), changes))
        section._refit_on = self._refit_on
        return section

    def without_test_likes(self) -> "TrainSection":
        """The section whose refit learns only train and validation likes, so that its vectors can be evaluated."""
        section = self.model_copy()
        section._refit_on = "train+valid"
        return section


class TrainSettings(TrainSection):
    """The section `train` without null: every value is known.

    refit_on  the likes that a refit learns: all, or train+valid if the vectors are evaluated afterwards

    Keys that are not given, or null, take their value from the recipe.
    """

    dim: int
    epochs: int
    batch_size: int
    negatives: Literal["auto"] | int
    sampler: Sampler
    corrupt_heads: float
    filtered: bool
    temperature: float
    softer: float
    spare_positives: float
    margin: float
    l2: float
    learning_rate: float
    head_rate: float
    schedule: Schedule
    init: Init
    validation: ValidationSettings
    refit_on: RefitOn = "all"

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        refit_on = {name: value for name, value in given.items() if name == "refit_on"}
        section = TrainSection.model_validate({name: given[name] for name in given.keys() - refit_on.keys()})
        written = section.model_dump(exclude_none=True)
        recipe = recipe_of(section.model, section.norm, section.objective)
        if section.negatives == "auto" and recipe["negatives"] != "auto":
            del written["negatives"]  # only the softmax can choose by the graph's size
        return merged(recipe, written) | refit_on

    def with_export(self, **values: float | str) -> "TrainSettings":
        """The settings with these values of `export`: those that training chose instead of auto."""
        return self.model_copy(update={"export": self.export.model_copy(update=values)})

    @property
    def sample_size(self) -> int:
        """`negatives` as a number: 0 if it is auto, until `memory.resolve_negatives` has chosen."""
        return 0 if self.negatives == "auto" else self.negatives

    @property
    def learned_splits(self) -> tuple[str, ...]:
        """The splits that the final weights have learned."""
        if self.refit == "none":
            return (TRAIN,)
        return (TRAIN, VALID, TEST) if self.refit_on == "all" else (TRAIN, VALID)


def may_lean(settings: TrainSettings) -> bool:
    """True if the model ranks by inner products, so that parts can be added to its queries and scores."""
    return model_entry(settings.model, settings.norm).can_lean


def may_encode(settings: TrainSettings) -> bool:
    """True if the settings want an encoder of histories; it also needs likes with times."""
    return may_lean(settings) and settings.export.recent_share != 0 and settings.history.encoder != "latest"


# The setting that scales an objective's scores.
_SCALES = {"softmax": "temperature", "bpr": "temperature", "warp": "margin", "margin": "margin"}


def describe(settings: TrainSettings) -> str:
    """The essentials in one line: `transe, dim 256, rate 0.002, temperature 0.14, 16 epochs`."""
    has_norm = MODELS[settings.model].norm_1 is not None
    model = f"{settings.model} with norm 1" if has_norm and settings.norm == 1 else settings.model
    scale = _SCALES.get(settings.objective)
    parts = [
        model if settings.objective == "softmax" else f"{model} by {settings.objective}",
        f"dim {settings.dim}",
        f"rate {settings.learning_rate:g}",
        *([f"{scale} {getattr(settings, scale):g}"] if scale else []),
        *([f"l2 {settings.l2:g}"] if settings.l2 else []),
        f"{settings.epochs} epochs",
    ]
    return ", ".join(parts)
