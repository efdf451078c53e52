"""Errors of optional packages, as one line of ours."""

import pytest

from kgspark.errors import AuditError, BusyError, StageError
from kgspark.warehouse.client_errors import one_line


def test_an_error_of_a_package_is_one_line_and_ours_passes_through() -> None:
    with (
        pytest.raises(BusyError, match=r"^there: another writer changed it meanwhile; "),
        one_line("there", (KeyError,)),
    ):
        raise KeyError("a newer version")
    with pytest.raises(StageError, match=r"^there: no access; nothing is published there; "), one_line("there"):
        raise OSError("no access\nand more")
    with pytest.raises(AuditError, match=r"^its own line$"), one_line("there", (KeyError,)):
        raise AuditError("its own line")
