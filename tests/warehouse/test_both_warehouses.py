"""What the target `files` does in a folder and in an object store alike."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kgspark.runs import Run
from kgspark.tables import RANKED, RECOMMENDATIONS
from kgspark.warehouse import files
from s3_server import S3
from warehouse import test_files, test_object_store
from worlds.published import rank
from worlds.stored_lakes import copy_at

DATE = "2026-02-03"
Check = Callable[..., None]


@pytest.fixture(params=["folder", "store"])
def published(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Run, Check]:
    """A night with ranked tables, and what checks that a model's tables are published."""
    if request.param == "folder":
        return rank(Run(tmp_path, DATE), "one"), test_files.assert_published
    server: S3 = request.getfixturevalue("s3")
    server.use(monkeypatch)
    return rank(Run(copy_at(tmp_path, server.new_uri()), DATE), "one"), test_object_store.assert_published


def test_earlier_settings_that_come_back_give_the_earlier_version(published: tuple[Run, Check]) -> None:
    run, assert_published = published
    first = files.publish(run, RANKED)
    second = files.publish(rank(run, "two"), RANKED)
    assert not files.is_there(rank(run, "one"), RANKED)
    assert files.publish(run, RANKED) == first != second
    assert_published(run, "one")


def test_a_table_that_is_left_out_is_removed_from_the_date_and_the_pointers(published: tuple[Run, Check]) -> None:
    run, assert_published = published
    files.publish(run, RANKED)
    rank(run, "two", tables=(RECOMMENDATIONS,))
    assert not files.is_there(run, (RECOMMENDATIONS,))
    files.publish(run, (RECOMMENDATIONS,))
    assert_published(run, "two", (RECOMMENDATIONS,))
    files.publish(rank(run, "three"), RANKED)
    assert_published(run, "three")
