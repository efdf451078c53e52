"""Tables that were not made from each other are refused, with the first stage to run again."""

import pytest

from kgspark.errors import StageError
from kgspark.lineage import check_lineage
from kgspark.manifests import Manifest

# Table: (its stage, the tables that it was made from).
CHAIN = {
    "ratings": ("clean", ()),
    "movies": ("clean", ()),
    "entities": ("index", ("ratings", "movies")),
    "triples": ("write", ("entities", "ratings")),
    "model": ("train", ("triples", "entities")),
    "space": ("train", ("triples", "entities")),
    "lists": ("rank", ("space", "entities", "ratings")),
}


class Tables(dict[str, Manifest]):
    """The manifests that are there."""

    def run(self, stage: str, version: int) -> None:
        """Writes the tables of a stage anew, from the present ones."""
        for table, (writer, reads) in CHAIN.items():
            if writer == stage:
                inputs = {name: self[name].fingerprint for name in reads}
                self[table] = Manifest(table, stage, f"{stage} {version} {inputs}", inputs, {}, [])


@pytest.fixture
def tables() -> Tables:
    tables = Tables()
    for stage in ("clean", "index", "write", "train", "rank"):
        tables.run(stage, 1)
    return tables


def test_a_whole_night_belongs_together(tables: Tables) -> None:
    check_lineage(list(CHAIN), tables.get)


@pytest.mark.parametrize(
    ("ran", "reads", "problem"),
    [
        # A new numbering under old vectors: every user would get another user's list.
        (("clean", "index"), ("space", "entities", "ratings"), "triples was made from another table entities .* write"),
        (("clean",), ("entities", "ratings"), "entities was made from another table ratings .* run index again"),
        (("clean", "index", "write"), ("space", "entities"), "space was made from another table triples .* run train"),
        # A new model beside old lists.
        (("train",), ("lists", "model"), "lists was made from another table space .* run rank again"),
    ],
)
def test_a_stage_that_was_left_out_is_named(
    tables: Tables, ran: tuple[str, ...], reads: tuple[str, ...], problem: str
) -> None:
    for stage in ran:
        tables.run(stage, 2)
    with pytest.raises(StageError, match=problem):
        check_lineage(reads, tables.get)


def test_two_tables_of_different_runs_of_one_stage_are_refused(tables: Tables) -> None:
    old = tables["space"]
    tables.run("train", 2)
    tables["space"] = old  # a kill between the moves of model and space
    with pytest.raises(StageError, match="space and model are of different runs of train; run that stage again"):
        check_lineage(("lists", "model"), tables.get)


def test_a_table_that_was_removed_is_not_asked_for(tables: Tables) -> None:
    del tables["triples"]
    check_lineage(("space", "entities"), tables.get)
    tables.run("clean", 2)
    tables.run("index", 2)
    with pytest.raises(StageError, match="space was made from another table entities"):
        check_lineage(("space", "entities"), tables.get)
