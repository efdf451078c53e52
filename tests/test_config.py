import copy
from operator import attrgetter
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kgspark.config import Document, apply_override, from_overrides, load, merged
from kgspark.errors import ConfigError
from kgspark.night.settings import NightSettings

# YAML text, and the complete message after the file's name.
WRONG_FILES = [
    pytest.param("trian: {dim: 3}\nsource: {path: x}", ":1:1: trian: unknown key; did you mean 'train'?", id="section"),
    pytest.param(
        "source:\n  path: x\n  fromat: y", ":3:3: source.fromat: unknown key; did you mean 'format'?", id="a key"
    ),
    pytest.param(
        "source: {path: x}\naudiences: {zzz: 1}",
        ":2:13: audiences.zzz: unknown key; known keys here: enabled, k",
        id="nothing close",
    ),
    pytest.param(
        "source: {path: x}\nrelations:\n  liked:\n    wher: rating > 3",
        ":4:5: relations.liked.wher: unknown key; did you mean 'where'?",
        id="in a mapping of sections",
    ),
    pytest.param(
        "source: {path: x}\nrelations:\n  liked:\n    tail: {kind: movie, colum: x}",
        ":4:25: relations.liked.tail.colum: unknown key; did you mean 'column'?",
        id="two sections below a mapping",
    ),
    pytest.param(
        "source:\n  path: x\n  tables:\n    facts:\n      pth: y",
        ":5:7: source.tables.facts.pth: unknown key; did you mean 'path'?",
        id="mapping below a section",
    ),
    pytest.param(
        "source:\n  path: x\n  tables:\n    facts: {format: orc}",
        ":4:5: source.tables.facts.path: required, but not given",
        id="missing in a mapping",
    ),
    pytest.param(
        "source: {path: x}\ntrain:\n  dim: 8\n  eval_users: 5",
        ":4:3: train.eval_users: renamed; write train.validation.users",
        id="a key of an earlier version",
    ),
    pytest.param(
        "source: {path: x}\ntrain: {weight_decay: 0.1}",
        ":2:9: train.weight_decay: removed; train.l2 bounds the vectors",
        id="a key that is gone",
    ),
    pytest.param("train: {}", ": source: required, but not given", id="missing section"),
    pytest.param("", ": source: required, but not given", id="empty file"),
    pytest.param(
        "source: {path: x}\ntrain:\n  dim: many", ":3:3: train.dim: expected an integer, found 'many'", id="integer"
    ),
    pytest.param("source: {path: x}\ntrain:\n  dim: 0", ":3:3: train.dim: expected a number ≥ 1, found 0", id="range"),
    pytest.param("source: {path: x}\ntrain: {dim: yes}", ":2:9: train.dim: expected a number, found True", id="yes"),
    pytest.param(
        "source: {path: x}\nclean: {rating_min: low}",
        ":2:9: clean.rating_min: expected a number, found 'low'",
        id="optional number",
    ),
    pytest.param(
        "source: {path: x}\nclean: {rating_step: .inf}",
        ":2:9: clean.rating_step: expected a finite number, found inf",
        id="infinite",
    ),
    pytest.param(
        "source: {path: x}\ntrain: {negatives: many}",
        ":2:9: train.negatives: expected 'auto' or an integer, found 'many'",
        id="one of two types",
    ),
    pytest.param(
        "source: {path: x}\ntrain: {model: trance}",
        ":2:9: train.model: expected 'transe', 'distmult', 'complex', 'rotate', 'rescal' or 'simple', found 'trance'",
        id="a name that its table lacks",
    ),
    pytest.param("source: {path: 5}", ":1:10: source.path: expected a string, found 5", id="string"),
    pytest.param("source: x", ":1:1: source: expected a section of keys, found 'x'", id="scalar for a section"),
    pytest.param(
        "source: {path: x}\nrelations: [liked]",
        ":2:1: relations: expected a section of keys, found ['liked']",
        id="list",
    ),
    pytest.param(
        "source: {path: x}\nevaluate: {ks: [5, ten]}",
        ":2:12: evaluate.ks.1: expected an integer, found 'ten'",
        id="list element",
    ),
    *[
        pytest.param(
            f"source: {{path: x}}\nevaluate: {{dates: [{date}]}}",
            f":2:12: evaluate.dates.0: expected a date as YYYY-MM-DD, found {found}",
            id=f"date {date}",
        )
        for date, found in (("2018-13-01", "'2018-13-01'"), ("2018", "2018"), ("yes", "True"))
    ],
    pytest.param(
        "source: {path: x}\nevaluate: {ks: []}",
        ":2:12: evaluate.ks: expected a list of 1 or more, found []",
        id="empty list",
    ),
    pytest.param(
        "source: {path: x, ids: uuid}", ":1:19: source.ids: expected 'integer' or 'string', found 'uuid'", id="choice"
    ),
    pytest.param(
        "source: {path: x}\nrun_date: 2026-02-30",
        ":2:1: run_date: expected a date as YYYY-MM-DD, today or latest, found '2026-02-30'",
        id="a date that is none",
    ),
    pytest.param(
        "source: {path: x}\ntrain: {1: 2}", ":2:9: train.1: expected a key that is text, found 1", id="a number as key"
    ),
    pytest.param(
        "source: {path: x}\ntrain: {dim: 1}\nsource: {path: y}",
        ":3:1: source: written twice; the first is at FILE:1:1",
        id="section twice",
    ),
    pytest.param(
        "source:\n  path: x\n  path: y", ":3:3: source.path: written twice; the first is at FILE:2:3", id="key twice"
    ),
    pytest.param("source: [", ":1:10: not valid YAML: expected the node content, but found '<stream end>'", id="open"),
    pytest.param("a:\n\tb: 1", ":2:1: not valid YAML: found character '\\t' that cannot start any token", id="tab"),
    pytest.param("- source", ":1:1: expected a mapping of sections, found ['source']", id="a list at the top"),
    pytest.param("hello", ":1:1: expected a mapping of sections, found 'hello'", id="a scalar at the top"),
    pytest.param("[" * 600, ": nested too deeply; a configuration has at most 50 levels", id="hundreds of levels"),
    pytest.param("a: &a\n  b: *a", ":2:3: a.b.b...: nested too deeply; an anchor may contain itself", id="endless"),
]


def _error(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(NightSettings, path, overrides)
    return str(caught.value)


@pytest.mark.parametrize(("text", "message"), WRONG_FILES)
def test_an_error_names_place_key_expectation_and_finding(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "night.yaml"
    path.write_text(text, encoding="utf-8")
    assert _error(path) == f"{path}{message.replace('FILE', str(path))}"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.dmi=3", "train.dmi: unknown key; did you mean 'dim'?"),
        ("train.facts_prior=3", "train.facts_prior: renamed; write train.export.facts_prior"),
        ("trian.dim=3", "trian: unknown key; did you mean 'train'?"),
        ("train.epochs=many", "train.epochs: expected an integer, found 'many'"),
        ("train={epochs: many}", "train.epochs: expected an integer, found 'many'"),
        ("relations.liked.wher=x", "relations.liked.wher: unknown key; did you mean 'where'?"),
        ("source.tables.facts.path=5", "source.tables.facts.path: expected a string, found 5"),
        (
            "source.tables={a b: {path: x}}",
            "source.tables.a b: expected a name that SQL can use: letters a to z, digits and _, without a digit in "
            "front, found 'a b'",
        ),
        (
            "source.tables.1.path=x",
            "source.tables.1: expected a name that SQL can use: letters a to z, digits and _, without a digit in "
            "front, found '1'",
        ),
        ("relations.../x.table=y", "expected dotted.key=value, found 'relations.../x.table=y'"),
        (
            "relations={../x: {table: movies, head: movie, tail: year}}",
            "relations.../x: expected a name of letters, digits, _ and -, found '../x'",
        ),
        (
            "relations={'liked ': {table: movies, head: movie, tail: year}}",
            "relations.liked : expected a name of letters, digits, _ and -, found 'liked '",
        ),
        ("run_date=2026-02-30", "run_date: expected a date as YYYY-MM-DD, today or latest, found '2026-02-30'"),
        ("train.epochs", "expected dotted.key=value, found 'train.epochs'"),
        ("=3", "expected dotted.key=value, found '=3'"),
        ("train..dim=3", "expected dotted.key=value, found 'train..dim=3'"),
    ],
)
def test_an_error_in_an_override_names_the_command_line(tmp_path: Path, override: str, message: str) -> None:
    path = tmp_path / "night.yaml"
    path.write_text("source: {path: x}\ntrain:\n  epochs: 5\n", encoding="utf-8")
    assert _error(path, override) == f"command line: {message}"


@pytest.mark.parametrize(
    ("override", "says"),
    [
        *[
            (f"source.tables.{name}.path=x", f"source.tables: {name!r} is the name of one of kgspark's own tables")
            for name in ("ratings", "movies", "Users", "tags", "co_watched", "entities", "recommendations")
        ],
        (
            "source.tables={a: {path: x}, A: {path: y}}",
            "source.tables: the names 'a' and 'A' differ by their case alone",
        ),
        (
            "relations={Liked: {table: movies, head: movie, tail: year}}",
            "relations: the names 'liked' and 'Liked' differ",
        ),
        ("candidates.segments={a: {users: b, movies: c}, A: {users: b, movies: c}}", "candidates.segments: the names"),
        (
            "relations.likd=null",
            "relations.likd: no default relation has this name, and its table is not given; did you mean 'liked'?",
        ),
        ("train.warm_start=../../OTHER", "train.warm_start: expected text like "),
        ("relations.has_gnre.weight=2", "its table is not given; did you mean 'has_genre'?"),
    ],
)
def test_a_name_that_could_mean_two_things_or_leave_the_lake_is_refused(
    tmp_path: Path, override: str, says: str
) -> None:
    path = tmp_path / "night.yaml"
    path.write_text("source: {path: x}\n", encoding="utf-8")
    assert says in _error(path, override)


def test_a_relation_that_names_its_table_takes_nothing_from_a_default(tmp_path: Path) -> None:
    path = tmp_path / "night.yaml"
    path.write_text(
        "source: {path: x, tables: {facts: {path: y}}}\n"
        "relations:\n"
        "  has_genre: {table: facts, head: movie, tail: genre}\n"
        "  liked: {where: rating > 4}\n",
        encoding="utf-8",
    )
    relations = load(NightSettings, path).relations
    assert list(relations)[:3] == ["liked", "watched", "has_genre"]
    own, liked = relations["has_genre"], relations["liked"]
    assert (own.explode, own.weight, own.tail.column, own.optional) == (None, "1.0", "genre", False)
    assert (liked.where, liked.weight) == ("rating > 4", "rating / 4")


def test_an_error_in_the_file_keeps_its_place_with_overrides(tmp_path: Path) -> None:
    path = tmp_path / "night.yaml"
    path.write_text("source: {path: x}\ntrain:\n  epochs: none\n", encoding="utf-8")
    assert _error(path, "train.dim=8").startswith(f"{path}:3:3: train.epochs: ")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    missing, binary = tmp_path / "missing.yaml", tmp_path / "binary.yaml"
    binary.write_bytes("source: {path: é}".encode("utf-16"))
    nul = tmp_path / "nul.yaml"
    nul.write_bytes(b"source: {path: 'a\x00b'}")
    assert _error(missing) == f"{missing}: no such configuration file; kgspark init writes one for your tables"
    assert _error(tmp_path).startswith(f"{tmp_path}: cannot be read as UTF-8 text: ")
    assert _error(binary).startswith(f"{binary}: cannot be read as UTF-8 text: ")
    assert _error(nul).startswith(f"{nul}: not valid YAML: ")
    assert all("\n" not in _error(path) for path in (missing, tmp_path, binary, nul))


def test_overrides_lie_over_the_file_and_the_last_one_wins(tmp_path: Path) -> None:
    path = tmp_path / "night.yaml"
    path.write_text("\ufeffsource: {path: x}\ntrain: {dim: 16, epochs: 3}\n", encoding="utf-8")
    settings = load(
        NightSettings,
        path,
        [
            "train.dim=32",
            "train.dim=64",
            "relations.liked.where=rating = 5",
            "relations.tagged=null",
            "run_date=2026-02-03",
        ],
    )
    assert (settings.train.dim, settings.train.epochs, settings.run_date) == (64, 3, "2026-02-03")
    assert settings.relations["liked"].where == "rating = 5"
    assert settings.relations["liked"].tail.column == "movie_id"
    assert "tagged" not in settings.relations


def test_settings_are_frozen(tmp_path: Path) -> None:
    path = tmp_path / "night.yaml"
    path.write_text("source: {path: x}", encoding="utf-8")
    with pytest.raises(ValueError, match="frozen"):
        load(NightSettings, path).train.dim = 3  # type: ignore[misc]


def test_merged_goes_mapping_by_mapping_and_none_removes() -> None:
    below = {"a": {"x": 1, "y": 2}, "b": 3, "c": {"z": 4}}
    assert merged(below, {"a": {"y": 5}, "b": None, "c": 6, "d": 7}) == {"a": {"x": 1, "y": 5}, "c": 6, "d": 7}
    assert below == {"a": {"x": 1, "y": 2}, "b": 3, "c": {"z": 4}}


_names = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
_paths = st.lists(_names, min_size=1, max_size=4)
_scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
)
_values = st.recursive(_scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3))
_trees = st.dictionaries(_names, _scalars | st.dictionaries(_names, _scalars, max_size=3), max_size=4)


def _at(values: object, path: list[str]) -> object:
    for key in path:
        values = values[key]  # type: ignore[index]
    return values


@given(tree=_trees, path=_paths, value=_values)
def test_an_override_is_read_back_and_touches_nothing_else(tree: dict, path: list[str], value: object) -> None:
    document = Document("file", copy.deepcopy(tree))
    apply_override(document, f"{'.'.join(path)}={yaml.safe_dump(value, default_flow_style=True)}")
    assert _at(document.values, path) == value
    assert document.place((*path, "below")) == "command line"
    kept = {key: below for key, below in tree.items() if key != path[0]}
    assert {key: below for key, below in document.values.items() if key != path[0]} == kept
    assert document.place(("Elsewhere",)) == "file"


@pytest.mark.parametrize(
    ("override", "key", "expected"),
    [
        ("train.model=ComplEx", "train.model", "complex"),
        ("train.objective=BPR", "train.objective", "bpr"),
        ("evaluate.protocol=leave_one_out", "evaluate.protocol", "leave-one-out"),
        ("evaluate.baselines=[Implicit_ALS, EASE]", "evaluate.baselines", ("implicit-als", "ease")),
        ("source.format=ML_1M", "source.format", "ml-1m"),
        ("split.protocol=Per User", "split.protocol", "per-user"),
        ("publish.targets=[Files]", "publish.targets", ("files",)),
    ],
)
def test_a_choice_may_be_written_in_any_case_with_dashes_or_underscores(override, key, expected) -> None:
    settings = from_overrides(NightSettings, ["source.path=x", override])
    assert attrgetter(key)(settings) == expected


def test_a_word_that_is_no_choice_is_still_refused() -> None:
    with pytest.raises(ConfigError, match=r"train\.model: expected .*'complex'.*found 'Complexx'"):
        from_overrides(NightSettings, ["source.path=x", "train.model=Complexx"])
