"""Tables that are derived from the training ratings, for use in relations. A new one is one more line in `DERIVED`."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from kgspark.spark.graph.co_watch import co_watched
from kgspark.spark.graph.settings import TriplesSettings
from kgspark.tables import CO_WATCHED, TRAIN, Columns


@dataclass(frozen=True)
class DerivedTable:
    """A table that can be built once the split is known. Relations may use it, but it adds no entity.

    build     lazily makes the table from the training ratings, the section `triples` of the settings, and an upper
              bound on the number of those ratings; held-out ratings must not become visible in it
    key       columns whose combination of values is unique
    of_likes  True if it is built from the training likes only, else from all training ratings
    """

    build: Callable[[DataFrame, TriplesSettings, int], DataFrame]
    key: tuple[str, ...]
    of_likes: bool


DERIVED = {
    CO_WATCHED: DerivedTable(
        build=lambda likes, settings, most: co_watched(likes, settings.co_watch, most),
        key=(Columns.MOVIE_ID, Columns.OTHER_MOVIE_ID),
        of_likes=True,
    ),
}


def derived_tables(
    names: Collection[str], ratings: DataFrame, liked_where: str | None, settings: TriplesSettings, most: int
) -> dict[str, DataFrame]:
    """The derived tables in `names`. Lazy.

    ratings      with their split
    liked_where  SQL condition under which a rating is a like; None: every rating is
    most         an upper bound on the number of ratings
    """
    training = ratings.where(F.col(Columns.SPLIT) == TRAIN)
    likes = training if liked_where is None else training.where(liked_where)
    return {
        name: table.build(likes if table.of_likes else training, settings, most)
        for name, table in DERIVED.items()
        if name in names
    }
