"""Object stores: puts that one of several writers wins, bytes that are those of the file, and errors of one line."""

import os
import re
import socket
import sys
from datetime import timedelta
from pathlib import Path

import obstore
import pytest

from kgspark.errors import ConfigError, StageError
from kgspark.files import hash_file
from kgspark.redaction import redact
from kgspark.stores import client
from kgspark.stores.store import _CHUNK_BYTES, LostError, Store, _etag
from kgspark.stores.uris import checked_uri, is_uri
from s3_server import S3


@pytest.fixture
def store(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Store:
    s3.use(monkeypatch)
    return Store(s3.new_uri())


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("s3a://bucket/a/b/", "s3://bucket/a/b"),
        ("S3://bucket", "s3://bucket"),
        ("gcs://bucket/a", "gs://bucket/a"),
        ("abfs://container@account.dfs.core.windows.net/a", "abfss://container@account.dfs.core.windows.net/a"),
    ],
)
def test_a_uri_has_one_spelling(text: str, uri: str) -> None:
    assert is_uri(text)
    assert checked_uri(text) == uri


@pytest.mark.parametrize("text", ["lake", "/data/lake", "file:///data/lake", "C:/data"])
def test_a_path_is_no_uri(text: str) -> None:
    assert not is_uri(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("hdfs://node/lake", "hdfs:// is not known; expected a path, or one of s3://, gs:// and abfss://"),
        ("s3://key:open-Sesame@bucket/lake", "a user or password may not stand in s3://key:*"),
        ("s3://key@bucket/lake", "a user or password may not stand in s3://key@bucket/lake"),
        ("abfss://c:open-Sesame@account/lake", "a user or password may not stand in"),
    ],
)
def test_a_scheme_that_is_not_known_and_a_secret_are_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)) as caught:
        checked_uri(text)
    assert "Sesame" not in str(caught.value)


def test_objects_below_a_prefix_with_the_state_that_puts_returned(store: Store) -> None:
    etags = {key: store.put(key, key.encode()) for key in ("a/x", "a/b/y", "ab/z")}
    assert {each.key: (each.bytes, each.etag) for each in store.objects("a")} == {
        key: (len(key), etags[key]) for key in ("a/x", "a/b/y")
    }
    assert len(store.objects()) == 3
    assert store.folders("a") == ["b"]
    assert store.read("a/x") == (b"a/x", etags["a/x"])
    assert store.find("a/x").etag == etags["a/x"]
    assert store.read("a") is store.find("b") is None
    store.remove([])
    store.remove(["a/x", "not/there"])
    assert [each.key for each in store.below("a").objects()] == ["b/y"]


def test_of_several_writers_of_one_state_one_wins(store: Store) -> None:
    first = store.put_if("x", b"first", None)
    with pytest.raises(LostError):
        store.put_if("x", b"second", None)
    second = store.put_if("x", b"second", first)
    with pytest.raises(LostError):
        store.put_if("x", b"third", first)
    store.remove(["x"])
    with pytest.raises(LostError):
        store.put_if("x", b"third", second)
    assert store.read("x") is None


def test_a_put_whose_answer_was_lost_is_known_again(store: Store) -> None:
    """The client sends it once more, and finds the object that the first one has put."""
    first = store.put_if("x", b"first", None)
    assert store.put_if("x", b"first", None) == first
    second = store.put_if("x", b"second", first)
    assert store.put_if("x", b"second", first) == second


@pytest.mark.parametrize("size", [100, _CHUNK_BYTES + 100])
def test_files_go_there_and_back_and_into_copies(store: Store, tmp_path: Path, size: int) -> None:
    """Also those that are sent in parts, whose copies have other ETags."""
    sent, got = tmp_path / "sent", tmp_path / "got"
    sent.write_bytes(os.urandom(size))
    etag = store.upload(sent, "a/file", hash_file(sent))
    assert (store.find("a/file").bytes, store.find("a/file").etag) == (size, etag)
    other = store.below("other")
    assert store.copy("a/file", other, "file") == other.find("file").etag
    assert store.sha256("other/file") == hash_file(sent)
    store.download("other/file", got)
    assert got.read_bytes() == sent.read_bytes()
    with pytest.raises(StageError, match="nothing: the file is missing"):
        store.download("nothing", tmp_path / "none")


@pytest.mark.parametrize("size", [100, _CHUNK_BYTES + 100])
def test_a_file_that_is_not_the_described_one_is_refused(store: Store, tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(os.urandom(size))
    with pytest.raises(StageError, match="file: the file changed after it was written; run the command again"):
        store.upload(tmp_path / "file", "file", "0" * 64)


def refused(store: Store) -> list[str]:
    """The lines of each kind of access."""
    kinds = (store.objects, store.folders, lambda key: store.put(key, b""), lambda key: store.put_if(key, b"", None))
    lines = []
    for use in kinds:
        with pytest.raises(StageError) as caught:
            use("a")
        lines.append(str(caught.value))
    return lines


def check(lines: list[str], uri: str, *expected: str) -> None:
    """Each line is short, names the place, and says one of what is expected."""
    for line in lines:
        assert line.startswith(f"{uri}/")
        assert "\n" not in line
        assert "<" not in line
        assert len(line) < len(uri) + 350
        assert any(text in line for text in expected), line


def test_a_missing_bucket(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.use(monkeypatch)
    lines = refused(Store("s3://none/lake"))
    check(
        lines,
        "s3://none/lake",
        "no such bucket or container; make it, or correct its name (404 Not Found: NoSuchBucket",
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AWS_SECRET_ACCESS_KEY", "another-Sesame-44", "(403 Forbidden: SignatureDoesNotMatch"),
        ("AWS_ACCESS_KEY_ID", "nobody-at-all", "(403 Forbidden: InvalidAccessKeyId"),
    ],
)
def test_wrong_keys_are_told_and_not_shown(
    s3: S3, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    s3.use(monkeypatch)
    monkeypatch.setenv(name, value)
    store = Store(s3.new_uri())
    lines = refused(store)
    check(lines, store.uri, f"a user who may read, list, write and delete there {said}")
    assert value not in "".join(lines)
    assert redact(f"the key is {value}.") == "the key is ***."


def test_a_user_without_the_right_to_write(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.use(monkeypatch)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.reader_key)
    store = Store(s3.new_uri())
    assert store.objects() == []
    with pytest.raises(StageError, match=r"who may read, list, write and delete there \(403 Forbidden: AccessDen"):
        store.put("a", b"")


@pytest.mark.parametrize("listening", [False, True])
def test_a_store_that_does_not_answer_is_given_up(s3: S3, monkeypatch: pytest.MonkeyPatch, listening: bool) -> None:
    """Nobody listens, or somebody who never says anything. All waiting is shortened here."""
    s3.use(monkeypatch)
    monkeypatch.setattr(client, "_CLIENT", {"connect_timeout": "1s", "read_timeout": "1s"})
    monkeypatch.setattr(client, "_RETRIES", {"max_retries": 1, "retry_timeout": timedelta(seconds=1)})
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if listening:
            silent.listen()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        store = Store(s3.new_uri())
        with pytest.raises(StageError, match="the store does not answer; check the network and the endpoint"):
            store.objects()


def test_waiting_for_a_store_ends_before_a_minute_or_two() -> None:
    """One try more may begin just before the end of the retries."""
    assert client._RETRIES["retry_timeout"] + timedelta(seconds=int(client._CLIENT["read_timeout"][:-1])) <= timedelta(
        seconds=60
    )


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(ConfigError, match=r"s3://bucket/lake: object stores need the package obstore; pip install"):
        Store("s3://bucket/lake")


def test_etags_without_quotes_are_those_with_quotes() -> None:
    """Azure's lists have none."""
    assert _etag({"e_tag": "0x8D"}) == _etag({"e_tag": '"0x8D"'}) == "0x8D"


def test_a_generation_is_what_googles_store_compares(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server of the tests has none, so this checks what the condition is made of."""
    etag = store.put("x", b"1")
    google = Store("gs://bucket/lake")
    monkeypatch.setattr(obstore, "head", lambda handle, key: {"e_tag": f'"{etag}"', "version": "17"})
    monkeypatch.setattr(client, "_client", lambda *given: None)
    assert google._condition("x", etag) == {"version": "17"}
    monkeypatch.setattr(Store, "read", lambda *given: None)
    with pytest.raises(LostError):
        google.put_if("x", b"2", "another")
