"""Settings of the baselines; importable without their packages."""

from pydantic import Field, model_validator

from kgspark.config import Settings


class ItemKnnSettings(Settings):
    """Cosine similarity of movies by the users who like them."""

    neighbours: int = Field(200, ge=1, description="most similar movies kept per movie")
    shrink: float = Field(10.0, ge=0, description="added to the denominator; shrinks similarities of few users")


class EaseSettings(Settings):
    """The closed-form linear autoencoder; its memory grows with the square of the catalogue."""

    l2: float = Field(1000.0, gt=0, description="λ, the weight of the ridge penalty")


class AlsSettings(Settings):
    """Confidence-weighted ALS, by implicit or by MLlib (whose regularization is per like)."""

    factors: int = Field(64, ge=1, description="numbers per vector")
    iterations: int = Field(15, ge=1, description="sweeps over users and movies")
    alpha: float = Field(2.0, gt=0, description="weight of a like relative to a missing one")
    regularization: float = Field(10.0, ge=0, description="weight of the vectors' squared norms")


class BprSettings(Settings):
    """Bayesian personalised ranking, by implicit."""

    factors: int = Field(64, ge=1, description="numbers per vector")
    iterations: int = Field(100, ge=1, description="passes over the likes")
    learning_rate: float = Field(0.01, gt=0, description="step size")
    regularization: float = Field(0.01, ge=0, description="weight of the vectors' squared norms")


class SasrecSettings(Settings):
    """SASRec with a softmax loss; its time grows with likes × movies."""

    dim: int = Field(128, ge=1, description="numbers per vector; a multiple of heads")
    blocks: int = Field(2, ge=1, description="layers of attention")
    heads: int = Field(2, ge=1, description="parts of a vector that attend each for itself")
    dropout: float = Field(0.3, ge=0, lt=1, description="fraction of activations that a step leaves out")
    places: int = Field(200, ge=1, description="latest likes per user that are read and learned")
    epochs: int = Field(20, ge=1, description="most passes over the likes; the step size falls to zero over them")
    patience: int = Field(5, ge=1, description="epochs without better validation after which training stops")
    learning_rate: float = Field(0.002, gt=0, description="largest step size")
    batch: int = Field(1024, ge=1, description="likes per step")
    negatives: int = Field(0, ge=0, description="movies drawn per step for a sampled softmax; 0 for all movies")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N")

    @model_validator(mode="after")
    def _heads_divide_dim(self) -> "SasrecSettings":
        if self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of heads, found {self.dim} and {self.heads}")
        return self


class PeerSettings(Settings):
    """The settings of the baselines."""

    item_knn: ItemKnnSettings = Field(default_factory=ItemKnnSettings)
    ease: EaseSettings = Field(default_factory=EaseSettings)
    implicit_als: AlsSettings = Field(default_factory=AlsSettings)
    mllib_als: AlsSettings = Field(AlsSettings(alpha=10.0, regularization=0.1))
    implicit_bpr: BprSettings = Field(default_factory=BprSettings)
    sasrec: SasrecSettings = Field(default_factory=SasrecSettings)
