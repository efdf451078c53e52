"""Wrong rules and templates are refused in one line that names the key."""

import pytest

from kgspark.config import from_overrides
from kgspark.errors import ConfigError
from kgspark.night.settings import NightSettings


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("rules.boosts.a={add: '1', multiply: '2'}", "rules.boosts.a: expected either add or multiply"),
        ("rules.at_most.a={per: genres, rows: 0}", "rules.at_most.a.rows: expected a number ≥ 1"),
        ("rules.diversity.relevance=2", "rules.diversity.relevance: expected a number ≤ 1"),
        ("rules.explore.share=0.001", "rules.explore.share: expected a share of at least one of the 100 ranks"),
        ("candidates.pinned=pins", "candidates.pinned: no table 'pins' in source.tables"),
        ("candidates.segments.a={users: 'true', deny: pins}", "candidates.segments.a.deny: no table 'pins'"),
        ("recommend.reason_text=as {title}", "recommend.reason_text: shared: unknown {title}; the words of this case"),
        ("recommend.reason_text={directed: x}", "recommend.reason_text.directed: expected one of shared, liked"),
        ("recommend.reason_words={directed: x}", "recommend.reason_words.directed: expected one of liked, watched"),
    ],
)
def test_the_error_names_the_key(override: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        from_overrides(NightSettings, ["source.path=x", override])
    assert says in str(error.value)


def test_nothing_is_active_by_default() -> None:
    settings = from_overrides(NightSettings, ["source.path=x"])
    assert not settings.rules.active
    assert not settings.candidates.restrict
    assert not settings.recommend.needs_facts
