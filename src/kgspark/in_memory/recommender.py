"""Fits a model on frames in memory, with a night's own code for numbering, training and lists, and without Spark."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kgspark.answers.frames import Frames, checked_frames, from_frame
from kgspark.answers.material import Described
from kgspark.answers.recommender import Recommender
from kgspark.errors import InputError
from kgspark.in_memory.graphs import build_graph
from kgspark.in_memory.material import FittedMaterial
from kgspark.in_memory.settings import fit_settings
from kgspark.in_memory.tables import clean_tables
from kgspark.scratch import temporary_root


class KGRecommender(Recommender):
    """A recommender that is fitted on frames of pandas, Arrow or Polars, which fit in memory.

    The same ratings, items, settings and machine give the same model and the same lists as a night. What only a night
    does is refused in one line: cleaning of bad lines, tables and SQL of your own, candidates, events.
    """

    def __init__(self, *overrides: str, settings: Mapping[str, Any] | None = None, frames: Frames = "pandas") -> None:
        """overrides, settings  keys of a configuration: `"train.dim=64"`, or `{"train": {"dim": 64}}`

        frames  the kind of all frames that are returned: pandas, arrow or polars

        Raises ConfigError for a setting that is wrong, or that only a night reads.
        """
        self._overrides, self._given, self.frames = overrides, dict(settings or {}), checked_frames(frames)
        self._settings = fit_settings(self._overrides, self._given)
        self._metrics: Mapping[str, Mapping[str, float]] = {}

    def __repr__(self) -> str:
        return super().__repr__() if "_material" in vars(self) else "KGRecommender(not fitted)"

    def __getattr__(self, name: str) -> Any:
        if name == "_material":
            raise InputError("KGRecommender: not fitted; call fit(interactions) first")
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    @property
    def metrics(self) -> Mapping[str, Mapping[str, float]]:
        """Metrics on held-out likes by name, of `model` and `popularity`; empty if no like was held out."""
        return self._metrics

    def fit(self, interactions: Any, items: Any = None, users: Any = None, tags: Any = None) -> "KGRecommender":
        """Trains on frames; returns itself.

        interactions  one row per rating: user_id, movie_id (integers or texts), rating, and timestamp (seconds since
                      1970, or times), if it is there. Of a repeated pair, the latest counts
        items         one row per movie: movie_id, title, genres (lists, or text with `|`), year; all but the id may be
                      missing, and the year is then taken from a title such as `Toy Story (1995)`
        users         one row per user: user_id, gender, age, occupation, each of which may be missing
        tags          user_id, movie_id, tag

        `source.columns` of the settings names other columns. Raises InputError for a frame that does not fit,
        StageError if there is nothing to train on, or too little memory.
        """
        names = from_frame(interactions, "interactions").column_names
        settings, column = self._settings, self._settings.source.columns.timestamp
        if column not in names and "timestamp" not in settings.source.columns.model_fields_set:
            settings = fit_settings(self._overrides, self._given, has_times=False)
        clean = clean_tables(settings.source, interactions, items, users, tags)
        numbered = build_graph(clean, settings)
        described = Described(
            "this fit", settings.run_date, settings.recommend.k, settings.similar_items.k, settings.names
        )
        self._use(described, clean, numbered, settings)
        return self

    def _use(self, described: Described, clean: Any, numbered: Any, settings: Any) -> None:
        # As on the command line: threads that spin long while they wait are slow where other processes need the cores.
        # It has an effect if torch is not imported yet. That takes seconds, so an error of the frames comes before.
        os.environ.setdefault("GOMP_SPINCOUNT", "5000")
        from kgspark.kge.export.fold_in import function_of_likes
        from kgspark.kge.export.search_space import export_search_space
        from kgspark.kge.training.training import train

        given = settings.train.resolved()
        graph = numbered.graph.with_inverses() if given.inverse_relations else numbered.graph
        with tempfile.TemporaryDirectory(dir=temporary_root()) as folder:
            trained = train(graph, given, Path(folder))
        space = export_search_space(trained.model, graph, trained.settings, trained.evidence, trained.encoder)
        function = function_of_likes(trained.model, graph, trained.settings, trained.evidence, space, trained.encoder)
        for name in ("_ranking", "_similar", "_fold"):  # of an earlier fit
            vars(self).pop(name, None)
        self._material = FittedMaterial(
            described, clean, numbered, space, function, given.target, trained.settings.learned_splits
        )
        self._metrics = {"model": trained.test, "popularity": trained.popularity}
