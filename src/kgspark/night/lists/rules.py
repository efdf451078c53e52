"""The business rules of a night, from its settings to the files that ranking tasks read."""

from pathlib import Path

import numpy as np

from kgspark.night.night import Night
from kgspark.night.settings import NightSettings
from kgspark.published_schemas import Extras
from kgspark.retrieval.rules.files import write_rules
from kgspark.retrieval.rules.plan import RulePlan
from kgspark.search_space import SearchSpace
from kgspark.spark.ranking.rule_settings import RuleSettings
from kgspark.tables import AVERAGE, EXPLORED, PINNED, SOURCES


def rule_plan(rules: RuleSettings, date: str) -> RulePlan:
    """The numbers of the rules in the night of a date."""
    return RulePlan(
        boosts=tuple(kind for _, _, kind in rules.boost_texts),
        at_most=tuple(cap.rows for cap in rules.at_most.values()),
        relevance=rules.diversity.relevance,
        pool=rules.diversity.pool,
        share=rules.explore.share,
        few=rules.explore.ratings,
        seed=rules.explore.seed,
        date=date,
    )


def write_rule_files(night: Night, folder: Path, tables: Path, space: SearchSpace) -> None:
    """Writes the new `folder` of rules for lists by the vectors of `space`.

    tables  holds those of `segments`, `candidates` and `rules` that the night has, on this machine
    """
    placed: np.ndarray = space.item_sources != SOURCES.index(AVERAGE)
    plan = rule_plan(night.settings.rules, night.settings.run_date)
    write_rules(folder, plan, tables, night.settings.candidates.restrict, placed)


def features(settings: NightSettings) -> set[str]:
    """The rules that checks of the audit may be about: see `Check.only_with`."""
    rules = settings.rules
    active = {"at_most": bool(rules.at_most), "pinned": settings.candidates.pins, "explore": bool(rules.explore.share)}
    active["reason_facts"] = settings.recommend.reason_facts
    return {name for name, is_active in active.items() if is_active}


def in_order_of_scores(settings: NightSettings) -> bool:
    """True if the rows of a list that no rule places are in the order of their scores."""
    return settings.rules.diversity.relevance is None


def extras_of(settings: NightSettings) -> Extras:
    """The columns and sources that the night's recommendations have besides those of all nights."""
    found = features(settings)
    placed = {PINNED: "pinned", EXPLORED: "explore"}
    return Extras(
        facts=settings.recommend.reason_facts,
        texts=bool(settings.recommend.reason_text),
        placed=tuple(source for source, feature in placed.items() if feature in found),
    )
