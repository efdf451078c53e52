"""The target `iceberg`: branches, tags, and data files of its own."""

from pathlib import Path
from typing import Any

import pytest
from pyiceberg.table import Table

from kgspark import config
from kgspark.errors import AuditError, BusyError, ConfigError
from kgspark.runs import Run
from kgspark.tables import RANKED, RECOMMENDATIONS
from kgspark.warehouse.iceberg import IcebergSettings, IcebergTarget, _Change
from worlds.published import ROWS_PER_FILE, rank
from worlds.stores import Iceberg

FIRST, SECOND = "2026-02-01", "2026-02-02"


def models(table: Table, ref: str) -> set[str]:
    snapshot = table.snapshot_by_name(ref)
    return set(table.scan(snapshot_id=snapshot.snapshot_id).to_arrow()["model_id"].to_pylist())


def test_each_date_is_a_tag_that_a_rollback_leaves_and_no_branch_is_left(tmp_path: Path) -> None:
    store = Iceberg.embedded(tmp_path)
    for date, model in ((FIRST, "one"), (SECOND, "two"), (SECOND, "three")):
        store.target.publish(rank(Run(tmp_path / "lake", date), model), RANKED)
    store.target.roll_back(Run(tmp_path / "lake", FIRST))
    for name in RANKED:
        table = store.table(name)
        assert set(table.refs()) == {"main", FIRST, SECOND}
        assert models(table, "main") == models(table, FIRST) == {"one"}
        assert models(table, SECOND) == {"one", "three"}


def test_files_of_a_publication_that_fails_are_removed_and_a_killed_ones_branch_is_replaced(tmp_path: Path) -> None:
    store, run = Iceberg.embedded(tmp_path), rank(Run(tmp_path / "lake", FIRST), "one")
    store.target.publish(run, RANKED)
    table = store.table(RECOMMENDATIONS)
    table.manage_snapshots().create_branch(table.current_snapshot().snapshot_id, f"audit-{FIRST}").commit()
    before = sorted(tmp_path.glob("iceberg/**/*.parquet"))
    rank(run, "two")
    part = run.table(RECOMMENDATIONS) / run.manifest(RECOMMENDATIONS).files[1].name
    good = part.read_bytes()
    part.write_bytes(b"")
    with pytest.raises(AuditError, match=r"part-00001\.parquet: it cannot be read .*; run recommend again"):
        store.target.publish(run, RANKED)
    assert sorted(tmp_path.glob("iceberg/**/*.parquet")) == before
    part.write_bytes(good)
    store.target.publish(run, RANKED)
    assert set(store.table(RECOMMENDATIONS).refs()) == {"main", FIRST}


def test_a_second_writer_that_gives_up_leaves_the_first_one_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one prepares its tables after the first one has read back its own, and before they become current."""
    store = Iceberg.embedded(tmp_path)
    run, other = (rank(Run(tmp_path / model, FIRST), model) for model in ("one", "other"))
    make_current = _Change.make_current

    def give_up(change: _Change, *arguments: Any) -> None:
        raise BusyError("too late")

    def after_the_other(change: _Change, *arguments: Any) -> None:
        monkeypatch.setattr(_Change, "make_current", give_up)
        with pytest.raises(BusyError, match="too late"):
            store.target.publish(other, RANKED)
        monkeypatch.setattr(_Change, "make_current", make_current)
        make_current(change, *arguments)

    monkeypatch.setattr(_Change, "make_current", after_the_other)
    store.target.publish(run, RANKED)
    assert [models(store.table(name), "main") for name in RANKED] == [{"one"}] * len(RANKED)


def test_without_a_catalogue_it_is_in_the_lake(tmp_path: Path) -> None:
    run = rank(Run(tmp_path / "lake", FIRST), "one")
    IcebergTarget(IcebergSettings()).publish(run, RANKED)
    assert (run.lake / "iceberg" / "catalog.db").is_file()
    assert IcebergTarget(IcebergSettings()).held(run.lake) == {FIRST: "one"}
    assert run.manifest(RECOMMENDATIONS).rows == 2 * ROWS_PER_FILE


def test_a_secret_in_the_configuration_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"s3\.secret-access-key: a password may not stand in a configuration"):
        config.from_overrides(IcebergSettings, ["catalog.s3.secret-access-key=hunter2"])
    given = config.from_overrides(IcebergSettings, ["catalog.s3.secret-access-key=${ENV:S3}"])
    assert given.catalog == {"s3.secret-access-key": "${ENV:S3}"}
