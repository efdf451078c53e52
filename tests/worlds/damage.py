"""Ratings files with known damage: every kind of bad line, its place, and the right reaction to it.

`write_damaged` writes files of good and damaged lines in a random (seeded) order and returns the right result for
them. It knows the right result because it made each line; it does not read the files.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

USERS, MOVIES = 60, 50
UNKNOWN_MOVIES = (MOVIES + 1, 10**9, 2**63 - 1)


@dataclass(frozen=True)
class Dialect:
    """The format of a ratings file: a line may be damaged in one dialect and good in another."""

    separator: str
    encoding: str
    header: str | None
    quoted: bool
    ratings: tuple[str, ...]
    integer_ids: bool = True

    def join(self, fields: list[str]) -> str:
        return self.separator.join(fields)


_HALF = tuple(str(half / 2) for half in range(1, 11))
_WHOLE = ("1", "2", "3", "4", "5")
CSV = Dialect(",", "utf-8", "userId,movieId,rating,timestamp", True, _HALF)
DAT = Dialect("::", "iso-8859-1", None, False, _WHOLE)
U_DATA = Dialect("\t", "iso-8859-1", None, False, _WHOLE)
STRING_TABLE = Dialect(",", "utf-8", "user,movie,stars,at", True, _HALF, integer_ids=False)


@dataclass
class Truth:
    """The right result of cleaning. `quarantine` contains (file, line from 1, reason, raw)."""

    lines: int = 0
    headers: int = 0
    good: int = 0
    kept: dict[tuple[object, object], tuple[float, int]] = field(default_factory=dict)
    quarantine: list[tuple[str, int, str, str]] = field(default_factory=list)

    @property
    def superseded(self) -> int:
        return self.good - len(self.kept)

    def add_good(self, user: object, movie: object, rating: float, timestamp: int) -> None:
        """The latest rating of a pair wins; of equal times, the higher one."""
        self.good += 1
        old = self.kept.get((user, movie))
        if old is None or (timestamp, rating) > (old[1], old[0]):
            self.kept[user, movie] = (rating, timestamp)


Kind = tuple[str, Callable[[list[str], Dialect], str | bytes]]


def damages(dialect: Dialect) -> list[Kind]:
    """Every kind of damaged line: its reason, and a function that makes it from the four fields of a good line."""
    return [*_of_lines(dialect), *_of_ids(dialect), *_of_ratings(dialect), *_of_timestamps()]


def _at(position: int, text: str) -> Callable[[list[str], Dialect], str]:
    return lambda fields, dialect: dialect.join([*fields[:position], text, *fields[position + 1 :]])


def _of_lines(dialect: Dialect) -> Iterator[Kind]:
    yield "unparsable_line", lambda fields, d: ""
    yield "unparsable_line", lambda fields, d: "    "
    for text in ("garbage", "user id;movie id;rating", "<html>", "é" * 40, "1" * 5000):
        yield "wrong_field_count", lambda fields, d, text=text: text
    yield "wrong_field_count", lambda fields, d: d.join(fields[:3])
    yield "wrong_field_count", lambda fields, d: d.join(fields[:1])
    yield "wrong_field_count", lambda fields, d: d.join([*fields, "extra"])
    yield "wrong_field_count", lambda fields, d: d.join(fields) + d.separator
    yield "wrong_field_count", lambda fields, d: d.separator + d.join(fields)
    yield "wrong_field_count", lambda fields, d: d.join([*fields, *fields])
    yield "wrong_field_count", lambda fields, d: ";".join(fields)
    yield "wrong_field_count", lambda fields, d: d.separator * 40
    yield "missing_user_id", lambda fields, d: d.separator * 3
    # Texts do not contain U+0000: the file has another encoding, or a block of the disk was lost.
    for place in range(4):
        yield "unreadable_encoding", lambda fields, d, place=place: _at(place, "\x00" + fields[place])(fields, d)
    yield "unreadable_encoding", lambda fields, d: "\x00" * 64
    yield "unreadable_encoding", lambda fields, d: d.join(fields).encode("utf-16-le")
    if dialect.encoding == "utf-8":
        for junk in (b"\xff", b"\xfe\xff", b"\xc3", b"\x80\x80", b"\xe2\x82", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf8"):
            yield "unreadable_encoding", lambda fields, d, junk=junk: d.join(fields).encode() + junk
            yield "unreadable_encoding", lambda fields, d, junk=junk: junk + d.join(fields).encode()
    if dialect.quoted:
        for unbalanced in ('"{}', '{}"', '"{}""', '"', '"{}"x"'):
            for place in range(4):
                yield (
                    "unparsable_line",
                    lambda fields, d, u=unbalanced, p=place: _at(p, u.format(fields[p]))(fields, d),
                )
        yield "wrong_field_count", lambda fields, d: f'"{d.join(fields)}"'
        yield "wrong_field_count", lambda fields, d: d.join([fields[0], f'"{d.join(fields[1:3])}"', fields[3]])
        yield "wrong_field_count", lambda fields, d: '""'
        yield "missing_user_id", _at(0, '""')
        yield "missing_movie_id", _at(1, '" "')
        yield "rating_not_a_number", _at(2, '"4,0"')
        yield "rating_not_a_number", _at(2, '"""4.0"""')
        yield "timestamp_not_a_time", _at(3, '"9,7"')
    if not dialect.header and dialect.integer_ids:
        yield "bad_user_id", lambda fields, d: d.join(["userId", "movieId", "rating", "timestamp"])


def _of_ids(dialect: Dialect) -> Iterator[Kind]:
    for place, name in enumerate(("user_id", "movie_id")):
        for text in ("", " ", "     ", "NULL", " nan ", "NaN", r"\N", "None", "<NA>", "N/A", "null"):
            yield f"missing_{name}", _at(place, text)
        if dialect.integer_ids:
            yield from _of_integers(dialect, place, name)
    for movie in (*UNKNOWN_MOVIES, -1, -12, -(2**63)) if dialect.integer_ids else ("nope", "M1", "1"):
        yield "unknown_movie", _at(1, str(movie))
    # If a line has several damages, the first counts.
    yield "missing_user_id", lambda fields, d: d.join(["", "", "", ""])
    yield "missing_movie_id", lambda fields, d: d.join([fields[0], "", "x", "y"])
    yield "rating_not_a_number", lambda fields, d: d.join([*fields[:2], "x", "y"])
    yield "timestamp_not_a_time", lambda fields, d: d.join([fields[0], str(UNKNOWN_MOVIES[0]), fields[2], "y"])


def _of_integers(dialect: Dialect, place: int, name: str) -> Iterator[Kind]:
    texts = [
        "abc",
        "1.5",
        "1e3",
        "12x",
        "0x1F",
        "--1",
        "1 2",
        "-",
        "- 1",
        "+",
        "+12",
        "-0",
        "1.",
        ".0",
        "12.0.0",
        "1_0",
    ]
    # Spark's own cast accepts control characters around a number.
    texts += ["\x0112", "12\x1f", "\x7f12", " \x0b12", "12\x85", "12.00x", "1,5" if place else "1-5"]
    if dialect.separator == ",":
        texts = [text.replace(",", ".") for text in texts] + ["١٢", "１２", "é", "\t12", "12\u2028", "\xa012"]
        texts += ["\ufeff12"] if place else []
    texts += [str(number) for number in (2**63, 2**64 + 1, 10**30, -(2**63) - 1)]
    texts += [f"{2**53}.0", f"-{2**53}.0", f"{10**18}.0"]
    for text in texts:
        yield f"bad_{name}", _at(place, text)
    for text in ("007", "00", " 0012 ", "-07", "007.0", "0" * 30 + "7"):
        yield f"leading_zeros_{name}", _at(place, text)
    if dialect.quoted:
        yield f"bad_{name}", _at(place, '"1,2"')
    else:
        yield f"bad_{name}", _at(place, '"12"')
        yield f"bad_{name}", _at(place, "\xff12")


def _of_ratings(dialect: Dialect) -> Iterator[Kind]:
    texts = ["", " ", "five", "NaN", "nan", "inf", "-inf", "Infinity", "+Infinity", "4f", "4d", "4.0F", "3D", "0x1p2"]
    texts += ["0x4", "4..0", ".", "+", "-", "--4", "1e", "4.0.0", "4 0", "1_0", "null", "4/5", "****", "e4", "4e+"]
    texts += ["+4.0", "+1", "\x014.0", "4.0\x1f", "- 4", "4.0\x85", "4e1.0"]
    for text in texts:
        yield "rating_not_a_number", _at(2, text)
    for text in ("0", "0.0", "-0.5", "-4", "0.25", "5.5", "6", "5.0001", "10", "1e9", "1e400", "-1e400", "5e1", "100"):
        yield "rating_out_of_range", _at(2, text)
    for text in ("3.3", "4.25", "4.999", "1.0001", "2.4999", "25e-1" if dialect.ratings is _WHOLE else "1.51"):
        yield "rating_off_step", _at(2, text)
    if dialect.ratings is _WHOLE:
        yield "rating_out_of_range", _at(2, "0.5")
        yield "rating_off_step", _at(2, "3.5")


def _of_timestamps() -> Iterator[Kind]:
    texts = ["", " ", "yesterday", "2009-01-01 00:00:00", "2009-01-01", "1.5e9", "1260759144.", ".5", "1.2.3", "NaN"]
    texts += ["-1", "-1260759144", "1260759144000", "1260759144000000", "4102444800", "0x10", "12 34", "-", "+5"]
    texts += ["+1260759144", "\x011260759144", "1260759144\x1f", "1260759144\x85", "4102444800.0", "1 260 759"]
    texts += [str(number) for number in (2**40, 2**63 - 1, 2**63, 10**30)]
    for text in texts:
        yield "timestamp_not_a_time", _at(3, text)


def oddities(dialect: Dialect) -> list[Callable[[list[str]], list[str]]]:
    """Unusual ways to write a good line, which are not damage."""
    ways: list[Callable[[list[str]], list[str]]] = [
        lambda f: f,
        lambda f: [f" {f[0]} ", f"{f[1]}  ", f" {f[2]} ", f" {f[3]}"],
        lambda f: [f[0], f[1], f[2].removesuffix(".0"), f"{f[3]}.0"],
        # MovieLens has whole seconds, and a fraction is cut off; in a table it would count.
        lambda f: [f[0], f[1], f"{float(f[2]) * 10:g}e-1", f"{f[3]}.{'999' if dialect.integer_ids else '000'}"],
        lambda f: [f[0], f[1], f"{float(f[2]):.4f}", f"000{f[3]}"],
    ]
    if dialect.integer_ids:
        ways.append(lambda f: [*[i if abs(int(i)) >= 2**53 else f"{i}.0" for i in f[:2]], *f[2:]])
    if dialect.quoted:
        ways.append(lambda f: [f'"{text}"' for text in f])
        ways.append(lambda f: [f[0], f[1], f'"{f[2]}"', f[3]])
    return ways


def movie_id(number: int, dialect: Dialect) -> object:
    """The external id of a known movie, in the form of the ratings table."""
    return number if dialect.integer_ids else f"m-{number}"


def write_damaged(files: list[Path], dialect: Dialect, seed: int, damaged: int, good: int) -> Truth:
    """Writes `damaged` bad lines, equally many of each kind, and `good` good ones, in random order over `files`."""
    rng = random.Random(seed)
    truth = Truth()
    kinds = damages(dialect)
    assert damaged >= len(kinds), f"fewer lines than the {len(kinds)} kinds of damage"
    plan: list[Kind | None] = [kinds[i % len(kinds)] for i in range(damaged)] + [None] * good
    rng.shuffle(plan)
    ways = oddities(dialect)
    share = -(-len(plan) // len(files))
    for number, file in enumerate(files):
        lines: list[bytes] = []
        if dialect.header:
            truth.headers += 1
            lines.append(dialect.header.encode())
        for kind in plan[number * share : (number + 1) * share]:
            fields, values = _good_fields(rng, dialect)
            if dialect.header and rng.random() < 0.001:  # as if files had been appended to one another
                truth.headers += 1
                lines.append(dialect.header.encode())
            if kind is None:
                truth.add_good(*values)
                lines.append(dialect.join(rng.choice(ways)(fields)).encode(dialect.encoding))
                if rng.random() < 0.05:
                    truth.add_good(*values)
                    lines.append(lines[-1])
            else:
                made = kind[1](fields, dialect)
                raw = made if isinstance(made, bytes) else made.encode(dialect.encoding)
                lines.append(raw)
                truth.quarantine.append((file.name, len(lines), kind[0], raw.decode(dialect.encoding, "replace")))
        truth.lines += len(lines)
        marked = dialect.encoding == "utf-8" and number % 2 == 0
        _write(file, lines, rng, marked, final_newline=number % 2 == 1)
    return truth


def _good_fields(rng: random.Random, dialect: Dialect) -> tuple[list[str], tuple[object, object, float, int]]:
    user: object = rng.choice([rng.randint(1, USERS), 2**63 - 1]) if rng.random() < 0.01 else rng.randint(1, USERS)
    if dialect.integer_ids and rng.random() < 0.02:
        user = rng.choice([0, -1, -12, -(2**31), -(2**63)])
    user = user if dialect.integer_ids else rng.choice([f"u{user}", f"ü{user}", f"{user}", f"-{user}"])
    movie = movie_id(rng.randint(1, MOVIES), dialect)
    rating = rng.choice(dialect.ratings)
    # Few different times, so that a pair is often rated twice in the same second.
    timestamp = rng.choice([0, 4_102_444_799, 1_260_759_144, rng.randint(1_260_759_000, 1_260_759_010)])
    return [str(user), str(movie), rating, str(timestamp)], (user, movie, float(rating), timestamp)


def _write(file: Path, lines: list[bytes], rng: random.Random, marked: bool, final_newline: bool) -> None:
    """Ends each line in LF, CRLF or, if that is not ambiguous, CR, as if files of different systems had been joined."""
    assert lines[-1] or final_newline, "an empty line without an end is no line"
    pieces = [b"\xef\xbb\xbf" if marked else b""]
    for line, following in zip(lines, [*lines[1:], b""], strict=True):
        ends = [b"\n", b"\r\n"] + ([b"\r"] if following else [])
        pieces += [line, rng.choices(ends, [50, 50, 1][: len(ends)])[0]]
    file.write_bytes(b"".join(pieces if final_newline else pieces[:-1]))
