"""A package that is missing is named in one line, with the extra that has it, before any work."""

import sys
import tomllib

import pytest

from kgspark.bench.run import load
from kgspark.causes import cause_of
from kgspark.errors import ResourceError
from kgspark.extras import extras, is_installed, missing_packages
from kgspark.peers.baselines import check_packages
from nights import ROOT


@pytest.fixture
def without_implicit(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "implicit"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "kgspark.bench.lists.topk", raising=False)
    monkeypatch.setitem(sys.modules, "implicit", None)


def test_a_benchmark_without_its_package(without_implicit: None) -> None:
    with pytest.raises(ResourceError, match=r"bench: topk needs the package implicit: pip install 'kgspark\[bench\]'"):
        load("topk")


def test_a_baseline_without_its_package_before_work(without_implicit: None) -> None:
    check_packages(["popularity", "ease"])
    with pytest.raises(ResourceError, match=r"implicit-als needs the extra bench: pip install 'kgspark\[bench\]'"):
        check_packages(["popularity", "implicit-als"])


def test_any_other_package() -> None:
    error = ModuleNotFoundError("No module named 'faiss'", name="faiss")
    assert cause_of(error) == "the package faiss is missing; pip install 'kgspark[retrieve]'"


def test_the_packages_of_extras_are_known_and_here() -> None:
    assert "torch" in extras()["train"]
    assert not missing_packages("spark")
    assert not is_installed("no-such-package")


def test_all_has_every_extra_but_those_of_developers_and_executors() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    (everything,) = declared["all"]
    named = set(everything.removeprefix("kgspark[").removesuffix("]").split(","))
    assert named == {name for name, packages in declared.items() if packages} - {"all", "dev", "executor", "mlflow"}
