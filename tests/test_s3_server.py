"""The S3 server of the tests does what kgspark needs of a store."""

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import from_url
from pyarrow.fs import FileSelector

from s3_server import S3


def test_objects_are_put_listed_and_got(s3: S3) -> None:
    folder, store = s3.new_uri().removeprefix("s3://"), s3.file_system()
    with store.open_output_stream(f"{folder}/a/b") as stream:
        stream.write(b"some bytes")
    assert [found.path for found in store.get_file_info(FileSelector(folder, recursive=True)) if found.is_file] == [
        f"{folder}/a/b"
    ]
    assert store.open_input_stream(f"{folder}/a/b").read() == b"some bytes"


def test_of_two_conditional_puts_the_second_one_fails(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.use(monkeypatch)
    store = from_url(s3.new_uri())
    first = obstore.put(store, "lock", b"first", mode="create")
    with pytest.raises(AlreadyExistsError):
        obstore.put(store, "lock", b"second", mode="create")
    assert obstore.get(store, "lock").bytes() == b"first"
    obstore.put(store, "lock", b"third", mode={"e_tag": first["e_tag"]})
    with pytest.raises(PreconditionError):
        obstore.put(store, "lock", b"fourth", mode={"e_tag": first["e_tag"]})
