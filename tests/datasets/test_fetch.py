"""`kgspark fetch` from a server on this machine: what arrives, and what a failure leaves, which is nothing."""

import csv
import hashlib
import io
import stat
import threading
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kgspark import config
from kgspark.datasets import fetch
from kgspark.datasets.movielens import DATA_SETS
from kgspark.errors import ConfigError, InputError, KgsparkError, ResourceError, StageError
from kgspark.night.settings import NightSettings
from kgspark.spark.cleaning.source.dialects import find_source
from nights import kgspark
from worlds.tastes import write_world

RATINGS = "userId,movieId,rating,timestamp\n1,1,4.0,964982703\n"
MOVIES = "movieId,title,genres\n1,Toy Story (1995),Comedy\n"
LATEST = {
    "ml-latest-small/ratings.csv": RATINGS,
    "ml-latest-small/movies.csv": MOVIES,
    "ml-latest-small/README.txt": "x",
}


@dataclass
class Server:
    """Answers with `files`; of those in `cut`, it sends half, and closes the connection."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def give(self, name: str, archive: bytes) -> None:
        self.files |= {f"/{name}.zip": archive, f"/{name}.zip.md5": f"MD5 ({name}.zip) = {md5(archive)}\n".encode()}


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def zipped(files: Mapping[str, str], **modes: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            member = zipfile.ZipInfo(name)
            member.external_attr = modes.get(Path(name).stem, stat.S_IFREG | 0o644) << 16
            archive.writestr(member, text, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(self.path)
            body = found.files.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write((body or b"")[: len(body or b"") // 2 if self.path in found.cut else None])

        def log_message(self, *arguments: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Server(f"http://127.0.0.1:{listening.server_port}")
    threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
    yield found
    listening.shutdown()
    listening.server_close()


def get(server: Server, folder: Path, name: str = "ml-latest-small") -> list[str]:
    printed: list[str] = []
    fetch.run(name, (), printed.append, to=str(folder / "data"), url=server.url)
    return printed


def test_a_data_set_arrives_with_its_configuration_and_its_terms(server: Server, tmp_path: Path) -> None:
    server.give("ml-latest-small", zipped(LATEST))
    printed = get(server, tmp_path)
    settings = config.load(NightSettings, tmp_path / "data" / "ml-latest-small.yaml")
    assert find_source(settings.source).format == "ml-latest"
    assert settings.lake == tmp_path / "data" / "lake-ml-latest-small"
    assert "GroupLens" in printed[0]
    assert {path.name for path in (tmp_path / "data").rglob("*")} == {
        "ml-latest-small", "ml-latest-small.yaml", "ratings.csv", "movies.csv", "README.txt"
    }  # fmt: skip


def test_the_layout_of_100k_is_found(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"ml-100k/u.data": "1\t1\t5\t874965758\n", "ml-100k/u.user": "1|24|M|technician|85711\n",
             "ml-100k/u.item": f"1|Toy Story (1995)|01-Jan-1995||url{'|0' * 19}\n"}  # fmt: skip
    archive = zipped(files)
    server.give("ml-100k", archive)
    monkeypatch.setitem(DATA_SETS, "ml-100k", replace(DATA_SETS["ml-100k"], md5=md5(archive)))
    get(server, tmp_path, "ml-100k")
    settings = config.load(NightSettings, tmp_path / "data" / "ml-100k.yaml")
    assert find_source(settings.source).format == "ml-100k"
    assert server.asked == ["/ml-100k.zip"]


def test_the_address_may_be_in_the_environment(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.give("ml-latest-small", zipped(LATEST))
    monkeypatch.setenv(fetch.VARIABLE, server.url)
    fetch.run("ML_latest_small", (), lambda line: None, to=str(tmp_path))
    assert (tmp_path / "ml-latest-small.yaml").exists()


@pytest.mark.extended
def test_a_night_on_the_layout_of_100k(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_world(tmp_path / "world", groups=3, users=16, movies=8)
    with open(tmp_path / "world" / "ratings.csv", encoding="utf-8", newline="") as stream:
        ratings = list(csv.DictReader(stream))
    movies = sorted({row["movieId"] for row in ratings}, key=int)
    data = "".join(
        f"{row['userId']}\t{row['movieId']}\t{float(row['rating']):.0f}\t{row['timestamp']}\n" for row in ratings
    )
    items = "".join(f"{each}|Film {each} (1995)|01-Jan-1995||url{'|0' * 5}{'|1' * 14}\n" for each in movies)
    users = "".join(f"{each}|24|M|writer|0\n" for each in sorted({row["userId"] for row in ratings}, key=int))
    archive = zipped({"ml-100k/u.data": data, "ml-100k/u.item": items, "ml-100k/u.user": users})
    server.give("ml-100k", archive)
    monkeypatch.setitem(DATA_SETS, "ml-100k", replace(DATA_SETS["ml-100k"], md5=md5(archive)))
    get(server, tmp_path, "ml-100k")
    short = ("train.epochs=2", "train.dim=8", "publish.beat_popularity=false", "spark.master=local[2]")
    done = kgspark("nightly", tmp_path / "data" / "ml-100k.yaml", *short, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "data" / "lake-ml-100k" / "warehouse" / "recommendations").glob("ds=*/*.parquet"))


def bomb() -> bytes:
    return zipped({**LATEST, "ml-latest-small/tags.csv": "0" * 50_000_000})


@pytest.mark.parametrize(
    ("archive", "says", "error"),
    [
        (None, "answers 404", StageError),
        (b"not a zip archive", "cannot be unpacked", InputError),
        (zipped({**LATEST, "ml-latest-small/../../out.csv": "x"}), "leads out of the folder", InputError),
        (zipped({**LATEST, "/etc/out.csv": "x"}), "leads out of the folder", InputError),
        (zipped({**LATEST, "ml-latest-small\\..\\out.csv": "x"}), "leads out of the folder", InputError),
        (
            zipped({**LATEST, "ml-latest-small/link.csv": "/etc/passwd"}, link=stat.S_IFLNK | 0o777),
            "a link",
            InputError,
        ),
        (bomb(), "unpacks to more than", InputError),
        (zipped({"a.txt": "x"}), "has none of ratings.csv", InputError),
        (zipped(LATEST)[:-30], "cannot be unpacked", InputError),
    ],
    ids=["404", "no zip", "dots", "absolute", "backslashes", "link", "bomb", "no ratings", "damaged"],
)
def test_what_must_not_be_kept_leaves_nothing(
    server: Server, tmp_path: Path, archive: bytes | None, says: str, error: type[KgsparkError]
) -> None:
    if archive is not None:
        server.give("ml-latest-small", archive)
    with pytest.raises(error, match=says) as told:
        get(server, tmp_path)
    assert "\n" not in str(told.value)
    assert list(tmp_path.rglob("*")) in ([], [tmp_path / "data"])


def test_a_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.give("ml-latest-small", zipped(LATEST))
    server.files["/ml-latest-small.zip.md5"] = b"0" * 32
    with pytest.raises(InputError, match="its MD5 is not 0000"):
        get(server, tmp_path)
    assert list(tmp_path.rglob("*")) == [tmp_path / "data"]


def test_a_known_checksum_does_not_come_from_the_server(server: Server, tmp_path: Path) -> None:
    server.give("ml-1m", zipped(LATEST))
    with pytest.raises(InputError, match="its MD5 is not c4d9eecf"):
        get(server, tmp_path, "ml-1m")


def test_a_transfer_that_breaks_off_is_tried_again_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.give("ml-latest-small", zipped(LATEST))
    server.cut.add("/ml-latest-small.zip")
    with pytest.raises(StageError, match="broke off"):
        get(server, tmp_path)
    assert server.asked.count("/ml-latest-small.zip") == 3
    assert list(tmp_path.rglob("*")) == [tmp_path / "data"]


def test_no_server(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="cannot be reached"):
        fetch.run("ml-latest-small", (), lambda line: None, to=str(tmp_path / "data"), url="http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("name", "url", "says"),
    [("ml-2m", "", "expected one of ml-latest-small, ml-100k"), ("ml-1m", "file:///etc", "begins with https://")],
)
def test_a_wrong_name_or_address_is_told(tmp_path: Path, name: str, url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        fetch.run(name, (), lambda line: None, to=str(tmp_path), url=url)
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "is_installed", lambda package: False)
    with pytest.raises(ResourceError, match=r"pip install 'kgspark\[fetch\]'"):
        fetch.run("ml-1m", (), lambda line: None, to=str(tmp_path))


def test_a_folder_that_is_there_stays(server: Server, tmp_path: Path) -> None:
    server.give("ml-latest-small", zipped(LATEST))
    (tmp_path / "data" / "ml-latest-small").mkdir(parents=True)
    with pytest.raises(InputError, match="exists already"):
        get(server, tmp_path)
    assert "/ml-latest-small.zip" not in server.asked
