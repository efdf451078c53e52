"""Settings of the baselines; importable without their packages."""

from pydantic import Field

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


class PeerSettings(Settings):
    """The settings of the baselines."""

    item_knn: ItemKnnSettings = Field(default_factory=ItemKnnSettings)
    ease: EaseSettings = Field(default_factory=EaseSettings)
    implicit_als: AlsSettings = Field(default_factory=AlsSettings)
    mllib_als: AlsSettings = Field(AlsSettings(alpha=10.0, regularization=0.1))
    implicit_bpr: BprSettings = Field(default_factory=BprSettings)
