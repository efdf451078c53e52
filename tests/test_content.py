"""The hash of a table's content, over the rows that ranking tasks write."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kgspark.content import columns_text, content_hash, signed, sum_of_rows
from worlds.contents import as_table, changed, in_any_order, some_rows

ROWS = some_rows()


def total(table: pa.Table, batch: int = 1000) -> int:
    """As the files of a table are summed, of which each holds some batches."""
    return sum(sum_of_rows(each) for each in table.to_batches(max_chunksize=batch)) % 2**64


def test_the_order_of_rows_and_their_batches_do_not_matter() -> None:
    for rows in in_any_order(ROWS):
        for batch in (1, 7, 1000):
            assert total(as_table(rows), batch) == total(as_table(ROWS))


@pytest.mark.parametrize("difference", changed(ROWS))
def test_every_difference_matters(difference: str) -> None:
    assert total(as_table(changed(ROWS)[difference])) != total(as_table(ROWS))


def test_a_column_of_a_dictionary_has_the_hash_of_its_values() -> None:
    table = as_table(ROWS)
    encoded = table.set_column(2, "source", table["source"].dictionary_encode())
    assert total(encoded) == total(table)


def test_minus_zero_is_zero() -> None:
    assert total(as_table([(1, 1, "", -0.0)])) == total(as_table([(1, 1, "", 0.0)]))


def test_names_types_and_the_number_of_rows_matter() -> None:
    table = as_table(ROWS)
    renamed = table.rename_columns(["movie_id", "user_id", "source", "score"])
    wider = table.set_column(3, "score", table["score"].cast(pa.float64()))
    columns = {columns_text(each.schema) for each in (table, renamed, wider)}
    assert len({content_hash(text, rows, 5) for text in columns for rows in (0, 1)}) == 6


def test_totals_are_equal_modulo_two_to_the_64() -> None:
    for number in (0, 1, 2**63 - 1, 2**63, 2**64 - 1):
        assert -(2**63) <= signed(number) < 2**63
        assert (
            content_hash("a", 1, signed(number)) == content_hash("a", 1, number) == content_hash("a", 1, 2**64 + number)
        )


VECTORS = [[0.0, 1.5, -2.0], [3.0, 1.5, 0.25], None, [0.0, None, 0.0], [0.5, 0.5, 0.5]]
FIXED = pa.list_(pa.float32(), 3)
LISTS = {
    "the last bit of a number": [[0.0, np.nextafter(np.float32(1.5), np.float32(2)), -2.0], *VECTORS[1:]],
    "two numbers change places": [[1.5, 0.0, -2.0], *VECTORS[1:]],
    "two rows exchange a number": [[3.0, 1.5, -2.0], [0.0, 1.5, 0.25], *VECTORS[2:]],
    "two rows exchange their vectors": [VECTORS[1], VECTORS[0], *VECTORS[2:]],
    "a missing number is zero": [*VECTORS[:3], [0.0, 0.0, 0.0], VECTORS[4]],
    "a missing number is in another place": [*VECTORS[:3], [None, 0.0, 0.0], VECTORS[4]],
    "a missing vector is one of zeros": [*VECTORS[:2], [0.0, 0.0, 0.0], *VECTORS[3:]],
    "a missing vector is one of missing numbers": [*VECTORS[:2], [None, None, None], *VECTORS[3:]],
}


def total_of(lists: list[Any], kind: pa.DataType = FIXED) -> int:
    return total(pa.table({"id": pa.array(range(len(lists))), "vector": pa.array(lists, kind)}))


@pytest.mark.parametrize("difference", LISTS)
def test_every_difference_of_vectors_matters(difference: str) -> None:
    assert total_of(LISTS[difference]) != total_of(VECTORS)


def test_lists_of_any_type_and_in_any_batches_have_the_hash_of_their_values() -> None:
    for kind in (pa.list_(pa.float32()), pa.large_list(pa.float32())):
        assert total_of(VECTORS, kind) == total_of(VECTORS)
    many = pa.table({"vector": pa.array(VECTORS * 2000, FIXED)})  # more rows than are hashed at a time
    assert total(many, 7) == total(many, 10_000) == 2000 * total(many.slice(0, 5)) % 2**64
    assert total(many.slice(1, 3)) == total(pa.table({"vector": pa.array(VECTORS[1:4], FIXED)}))


def test_where_a_list_ends_matters() -> None:
    kind = pa.list_(pa.float32())
    alike = (
        [[1.0, 2.0], [3.0]],
        [[1.0], [2.0, 3.0]],
        [[1.0, 2.0, 3.0], []],
        [[1.0, 2.0, 3.0], None],
        [[1.0, 2.0, 0.0], [3.0]],
    )
    assert len({total_of(lists, kind) for lists in alike}) == len(alike)
