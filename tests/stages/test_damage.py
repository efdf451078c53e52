"""Damage to any file of a night is noticed by the stage that reads it, and repaired by the next night."""

import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from kgspark.errors import StageError
from kgspark.stages import nightly
from nights import a_small_night, table_bytes

pytestmark = pytest.mark.slow

# Each table with a stage that reads it, and a table of that stage, which is removed so that the stage must run.
READERS = {
    "ratings": ("index_entities", "entities"),
    "movies": ("write_triples", "triples"),
    "seen": ("recommend", "recommendations"),
    "entities": ("write_triples", "triples"),
    "triples": ("train_embeddings", "model"),
    "search_space": ("recommend", "recommendations"),
    "model": ("publish", "published"),
    "recommendations": ("publish", "published"),
    "audiences": ("publish", "published"),
}


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-3])


def remove(file: Path) -> None:
    file.unlink()


def add(file: Path) -> None:
    shutil.copyfile(file, file.with_name(f"more-{file.name}"))


def exchange(file: Path) -> None:
    """Zeroes in place of the content: a file of the same name and size, from somewhere else."""
    file.write_bytes(bytes(file.stat().st_size))


DAMAGES: tuple[Callable[[Path], None], ...] = (flip, cut, remove, add, exchange)


def file_kinds(table: Path) -> list[str]:
    """One file of every kind in the folder of a table."""
    files = sorted(path for path in table.iterdir() if not path.name.startswith(("_", ".")))
    of_kind = {path.suffix if path.suffix == ".parquet" else path.name: path.name for path in reversed(files)}
    return sorted(of_kind.values())


@pytest.mark.parametrize("table", READERS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_stage_refuses_damaged_files_and_names_the_file_and_the_stage_to_run(
    small_night: Path, tmp_path: Path, table: str, damage: Callable[[Path], None]
) -> None:
    reader, written = READERS[table]
    source, lake = small_night / "source", small_night / "lake"
    original = a_small_night(source, lake).run
    for name in file_kinds(original.table(table)):
        shutil.copytree(lake, tmp_path / name)
        night = a_small_night(source, tmp_path / name)
        shutil.rmtree(night.run.table(written))
        damage(night.run.table(table) / name)
        stage = original.manifest(table).stage
        with pytest.raises(StageError, match=rf"/{table}/\S*{name}: .*; run {stage} again"):
            import_module(f"kgspark.stages.{reader}").run(night)


def test_the_next_night_repairs_all_damage(spark: Any, small_night: Path, tmp_path: Path) -> None:
    shutil.copytree(small_night / "lake", tmp_path / "damaged")
    night = a_small_night(small_night / "source", tmp_path / "damaged", spark)
    for table in READERS:
        flip(night.run.table(table) / file_kinds(night.run.table(table))[0])
    nightly.run(night)
    for table in ("recommendations", "audiences"):
        assert table_bytes(tmp_path / "damaged", table) == table_bytes(small_night / "lake", table)
    # What is published was copied, so nothing happened to it.
    assert [outcome.ran for outcome in night.outcomes] == [True] * 5 + [False]
