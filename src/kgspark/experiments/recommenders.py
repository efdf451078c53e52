"""The models of an evaluation, as recommenders."""

from kgspark.peers.baselines import Recommender
from kgspark.retrieval.space_recommender import SpaceRecommender
from kgspark.search_space import SearchSpace
from kgspark.spark.session import usable_cores

# The name of our own model among the baselines.
OURS = "kgspark"
# The same model, if its queries know when the like to predict will be.
TIME_KNOWN = "kgspark, time known"


def as_recommender(fitted: Recommender | SearchSpace) -> Recommender:
    """The recommender itself, or one that ranks by the given vectors."""
    return SpaceRecommender(fitted, usable_cores()) if isinstance(fitted, SearchSpace) else fitted
