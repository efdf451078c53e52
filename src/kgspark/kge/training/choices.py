"""What training chooses after the model: the parts of `train.export` that are auto, and whether it needs an encoder.

Validation likes choose where they follow the others of their user. Else the past weeks do (`export.past_weeks`), as
they choose the trend: held-out likes of all times cannot say what comes next.
"""

from dataclasses import asdict, dataclass
from functools import cached_property

import torch

from kgspark.kge.export.past_weeks import Choice, PastWeeks
from kgspark.kge.export.recency import choose_recent_share, follow
from kgspark.kge.export.trend import Trend
from kgspark.kge.export.vectors import target_vectors
from kgspark.kge.export.when import choose_when
from kgspark.kge.model.history import HistoryEncoder
from kgspark.kge.model.two_tower import metric_of
from kgspark.kge.settings import TrainSettings, may_encode, may_lean
from kgspark.kge.training.histories import train_encoder
from kgspark.kge.training.plan import TrainingPlan
from kgspark.kge.training.warm_start import WarmStart
from kgspark.tables import TEST, TRAIN, VALID


@dataclass(frozen=True)
class Chosen:
    """What was chosen.

    settings    those of the plan, with a value for each part of `export` that was auto
    encoder     of the histories, as it was judged; None if queries do not need one
    past_weeks  what the trend and the latest likes are worth in the past weeks; {} if these chose neither
    later_days  what asking for a time is worth (see `export.when`); {} if it was not judged
    """

    settings: TrainSettings
    encoder: HistoryEncoder | None
    past_weeks: dict[str, float]
    later_days: dict[str, float]


def choose(plan: TrainingPlan, model: torch.nn.Module, initial: WarmStart | None) -> Chosen:
    """Trains an encoder of histories for the model, if one can be judged or is wanted, and chooses.

    initial  the encoder of an earlier night is continued
    """
    return _Choices(plan, model, initial).chosen()


@dataclass(frozen=True)
class _Choices:
    plan: TrainingPlan
    model: torch.nn.Module
    initial: WarmStart | None

    def chosen(self) -> Chosen:
        settings, weeks = self.plan.settings, self._weeks
        trend = None if weeks is None else weeks.choose_trend()
        settings = _with_trend(settings, trend)
        encoder = self._train_encoder((TRAIN,)) if self._encodes else None
        if settings.export.recent_share == "auto" and not (encoder is not None or self._validation_follows):
            return self._by_weeks(settings, trend)
        if settings.export.recent_share == "auto":
            settings = settings.with_export(recent_share=self._share(encoder))
        if not settings.export.recent_share:
            encoder = None
        settings, later_days = self._when(settings, encoder)
        figures = {} if weeks is None or trend is None else weeks.figures(Choice(0.0, trend))
        return Chosen(settings, encoder, figures, later_days)

    @property
    def _encodes(self) -> bool:
        """True if an encoder is trained that validation likes judge, or whose share is given."""
        settings = self.plan.settings
        train = self.plan.graph.histories(self.plan.target)
        if not may_encode(settings) or train.times is None:
            return False
        return settings.export.recent_share != "auto" or self._validation_follows

    @cached_property
    def _validation_follows(self) -> bool:
        return follow(self.plan.held_out(VALID), self.plan.graph.histories(self.plan.target))

    def _train_encoder(self, splits: tuple[str, ...], before: int | None = None) -> HistoryEncoder:
        return train_encoder(self.plan, self.model, splits, self.initial, before)

    def _share(self, encoder: HistoryEncoder | None) -> float:
        """The share that the validation likes choose."""
        plan, settings = self.plan, self.plan.settings
        if encoder is None and settings.history.encoder != "latest":
            return 0.0
        queries, items = target_vectors(self.model, plan.graph, settings)
        train, valid = plan.graph.histories(plan.target, (TRAIN,)), plan.held_out(VALID)
        half_life, k = settings.export.recent_half_life, settings.validation.k
        return choose_recent_share(queries, items, metric_of(settings), valid, train, half_life, k, encoder)

    def _when(self, settings: TrainSettings, encoder: HistoryEncoder | None) -> tuple[TrainSettings, dict[str, float]]:
        """The settings with a value for `when`, and the figures that the validation likes chose it by."""
        if encoder is None or not encoder.knows_when:
            return settings.with_export(when="unknown"), {}
        if settings.export.when != "auto":
            return settings, {}
        plan = self.plan
        queries, items = target_vectors(self.model, plan.graph, settings)
        train, valid = plan.graph.histories(plan.target, (TRAIN,)), plan.held_out(VALID)
        asks, figures = choose_when(queries, items, metric_of(settings), valid, train, encoder, settings)
        return settings.with_export(when="tomorrow" if asks else "unknown"), figures

    @cached_property
    def _weeks(self) -> PastWeeks | None:
        """The weeks up to the latest training like, with all likes up to then; None if there is nothing to choose.

        Later likes are those that the metrics ask for.
        """
        plan, settings = self.plan, self.plan.settings
        if settings.export.trend_weight == 0 and settings.export.recent_share != "auto":
            return None
        likes = plan.graph.histories(plan.target, (TRAIN, VALID, TEST))
        latest = plan.graph.histories(plan.target).times
        if not may_lean(settings) or likes.times is None or latest is None or not len(latest):
            return None
        queries, items = target_vectors(self.model, plan.graph, settings)
        return PastWeeks(queries, items, likes.where(likes.times <= latest.max()), settings)

    def _by_weeks(self, settings: TrainSettings, trend: Trend | None) -> Chosen:
        """What the past weeks choose: the mean of the latest likes, or the network, if the settings name it.

        The sums are not trained for them: a night whose split follows the others of each user is for those.
        """
        weeks = self._weeks
        choice = Choice() if weeks is None else Choice(weeks.choose_recent_share(trend), trend)
        encoder = None
        if weeks is not None and settings.history.encoder == "network" and weeks.start() is not None:
            encoder = self._train_encoder((TRAIN,), weeks.start())
            weeks = weeks.encoded(encoder)
            choice = weeks.choose_encoder(choice)
        settings = _with_trend(settings, choice.trend).with_export(
            recent_share=choice.share, when="tomorrow" if choice.asks else "unknown"
        )
        if choice.share and not choice.encodes:
            latest = settings.history.model_copy(update={"encoder": "latest"})
            settings = settings.model_copy(update={"history": latest})
        figures = {} if weeks is None or not (choice.share or choice.trend) else weeks.figures(choice)
        return Chosen(settings, encoder if choice.encodes else None, figures, {})


def _with_trend(settings: TrainSettings, trend: Trend | None) -> TrainSettings:
    return settings.with_export(**({"trend_weight": 0.0} if trend is None else asdict(trend)))
