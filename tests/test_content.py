"""The hash of a table's content, over the rows that ranking tasks write."""

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
