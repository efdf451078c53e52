from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from kgspark.errors import InputError
from kgspark.spark.cleaning.accounts import collect_blocks
from kgspark.spark.cleaning.hints import collect_genre_hint
from kgspark.spark.cleaning.quarantine import refused_lines
from kgspark.spark.cleaning.settings import NULL_TEXTS, SourceColumns, SourceSettings
from kgspark.spark.cleaning.side_tables import (
    good_rows,
    movies_table,
    read_parquet_movies,
    read_side_table,
    side_tables,
    tags_table,
    users_table,
)
from kgspark.spark.cleaning.source.dialects import ML_100K_GENRES, find_source, movie_columns, required_columns
from kgspark.spark.cleaning.source.files import find_files
from kgspark.spark.cleaning.source.layouts import TextLayout
from kgspark.spark.cleaning.source.parquet_files import read_footers


def _read(spark: Any, folder: Path, table: str, id_type: str = "bigint", **settings: Any) -> Any:
    given = SourceSettings(path=str(folder), **settings)
    source = find_source(given)
    return read_side_table(
        spark, source.files[table], source.layouts[table], side_tables()[table], id_type, given.null_texts
    )


def _rows(frame: Any) -> list[tuple[Any, ...]]:
    return sorted((tuple(row) for row in frame.collect()), key=repr)


def _movies(spark: Any, folder: Path, id_type: str = "bigint", **settings: Any) -> dict[Any, tuple[Any, ...]]:
    rows = _read(spark, folder, "movies", id_type, **settings)
    found = _rows(movies_table(good_rows(rows)))
    assert len({row[0] for row in found}) == len(found), "a movie stands twice"
    return {row[0]: row[1:] for row in found}


def test_quoted_titles_years_genres_and_bad_lines_of_movies_csv(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n")
    lines = [
        "movieId,title,genres",
        "1,Toy Story (1995),Adventure|Animation|Children",
        '11,"American President, The (1995)",Comedy|Drama',
        '2,"""Great Performances"" Cats (1998)",Musical',
        '3,"Say ""Hi"", She Said (I, II) (2001) ",(no genres listed)',
        "4,Cité des enfants perdus (1995),Drama|| |Fantasy",
        "5,Babylon 5,Sci-Fi",
        "6,Death Note (2006–2007),Crime",
        "7,Doctor Who (1963-),Sci-Fi",
        "8,2001: A Space Odyssey,",
        '9,"7 Días (1000) en (20001)",Drama',
        '10,"",Drama',
        "1,Toy Story (1995),Adventure|Animation|Children",
        '12,"unbalanced,Drama',
        "13,one,two,three",
        "x,Bad Id (2000),Drama",
        ",No Id (2000),Drama",
        "04,Zeros (2000),Drama",
        "\\N,Null (2000),Drama",
        "14,\x00,Drama",
    ]
    text = "\r\n".join(lines).encode() + b"\r\n15,Am\xe9lie (2001),Romance"
    (tmp_path / "movies.csv").write_bytes(text)
    assert _movies(spark, tmp_path) == {
        1: ("Toy Story (1995)", 1995, ["Adventure", "Animation", "Children"]),
        11: ("American President, The (1995)", 1995, ["Comedy", "Drama"]),
        2: ('"Great Performances" Cats (1998)', 1998, ["Musical"]),
        3: ('Say "Hi", She Said (I, II) (2001)', 2001, []),
        4: ("Cité des enfants perdus (1995)", 1995, ["Drama", "Fantasy"]),
        5: ("Babylon 5", None, ["Sci-Fi"]),
        6: ("Death Note (2006–2007)", 2006, ["Crime"]),
        7: ("Doctor Who (1963-)", 1963, ["Sci-Fi"]),
        8: ("2001: A Space Odyssey", None, []),
        9: ("7 Días (1000) en (20001)", None, ["Drama"]),
        10: ("", None, ["Drama"]),
    }
    rows = _read(spark, tmp_path, "movies")
    refused = refused_lines(rows, collect_blocks(rows), "movies", tmp_path)
    bad = {row.line: (row.file, row.reason) for row in refused.collect()}
    reasons = ["unparsable_line", "wrong_field_count", "bad_movie_id", "missing_movie_id", "leading_zeros_movie_id"]
    reasons += ["missing_movie_id", "unreadable_encoding", "unreadable_encoding"]
    assert bad == {line: ("movies.csv", reason) for line, reason in enumerate(reasons, 14)}


def test_a_repeated_movie_is_the_same_one_in_any_order_of_the_lines(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n")
    lines = ["1,B (1990),Drama", "1,A (1991),Comedy", "1,A (1991),Action"]
    found = []
    for order in (lines, lines[::-1]):
        (tmp_path / "movies.csv").write_text("\n".join(["movieId,title,genres", *order]))
        found.append(_movies(spark, tmp_path))
    assert found[0] == found[1] == {1: ("A (1991)", 1991, ["Action"])}


def test_of_a_repeated_movie_the_row_with_the_fewest_gaps_counts(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n")
    lines = ["1,Film 1 (1981),Drama", "1,,", "2,Film 2 (1982),", "2,Film 2 (1982),Comedy", "3,,"]
    (tmp_path / "movies.csv").write_text("\n".join(["movieId,title,genres", *lines]))
    assert _movies(spark, tmp_path) == {
        1: ("Film 1 (1981)", 1981, ["Drama"]),
        2: ("Film 2 (1982)", 1982, ["Comedy"]),
        3: ("", None, []),
    }


def test_genres_have_no_blanks_around_them_and_are_no_texts_for_nothing(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n")
    lines = ["1,T,Action | Comedy", "2,T, Drama ", "3,T,nan", "4,T,None|N/A|War", "5,T,War|War", r"6,T,\N"]
    lines += ["7,T,\"['Action', 'Sci-Fi']\"", '8,T,"[""Action"", ""Drama, Serious""]"', "9,T,[]", "10,T,[x] | y"]
    (tmp_path / "movies.csv").write_text("\n".join(["movieId,title,genres", *lines]))
    rows = good_rows(_read(spark, tmp_path, "movies"))
    found = {row.movie_id: row.genres for row in movies_table(rows, "|", NULL_TEXTS).collect()}
    assert found == {
        1: ["Action", "Comedy"], 2: ["Drama"], 3: [], 4: ["War"], 5: ["War"], 6: [],
        7: ["Action", "Sci-Fi"], 8: ["Action", "Drama, Serious"], 9: [], 10: ["[x]", "y"],
    }  # fmt: skip


def test_another_separator_of_genres_is_a_setting(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n")
    (tmp_path / "movies.csv").write_text('movieId,title,genres\n1,T,"Action, Comedy"\n2,T,Drama\n')
    rows = good_rows(_read(spark, tmp_path, "movies"))
    assert {row.movie_id: row.genres for row in movies_table(rows, ",").collect()} == {
        1: ["Action", "Comedy"],
        2: ["Drama"],
    }
    hint = "no movie has two genres, and one is 'Action, Comedy': set source.genre_separator"
    assert collect_genre_hint(movies_table(rows), "|") == hint
    assert collect_genre_hint(movies_table(rows, ","), ",") == ""
    slash = rows.withColumn("genres", F.lit("Sci-Fi/Fantasy|Drama"))
    assert collect_genre_hint(movies_table(slash), "|") == ""


def test_quotes_as_spark_writes_them(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n")
    lines = [
        r'1,"The \"Best\" Film (1981)",Drama',
        r'2,"The \"Best\", and Last (1982)",Drama',
        r'3,"A 5\" Disk",Drama',
        r'4,"C:\",Drama',
        r'5,"""Great"" \ Cats",Drama',
        r"6,Back\slash,Drama",
    ]
    (tmp_path / "movies.csv").write_text("\n".join(["movieId,title,genres", *lines]))
    assert {number: title for number, (title, _, _) in _movies(spark, tmp_path).items()} == {
        1: 'The "Best" Film (1981)',
        2: 'The "Best", and Last (1982)',
        3: 'A 5" Disk',
        4: "C:\\",
        5: '"Great" \\ Cats',
        6: "Back\\slash",
    }


def test_titles_in_utf_8_are_read_as_such_in_a_dialect_of_latin_1(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text("1::1::3::4\n")
    (tmp_path / "users.dat").write_text("1::F::1::10::48067\n")
    lines = ["1::Amélie (2001)::Comedy\n".encode(), "2::Misérables, Les (1995)::Drama\n".encode("iso-8859-1")]
    (tmp_path / "movies.dat").write_bytes(b"".join(lines))
    titles = {number: title for number, (title, _, _) in _movies(spark, tmp_path).items()}
    assert titles == {1: "Amélie (2001)", 2: "Misérables, Les (1995)"}
    as_configured = _movies(spark, tmp_path, encoding="iso-8859-1")
    assert as_configured[1][0] == "AmÃ©lie (2001)"


def test_latin_1_titles_and_users_of_the_dat_dialect(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text("1::1::3::4\n")
    (tmp_path / "movies.dat").write_bytes(
        "1::Cité des enfants perdus, La (1995)::Adventure|Sci-Fi\r\n2::A: B::C (1996)::Drama\n"
        '3::"Quoted" (1997)::Comedy\n'.encode("iso-8859-1")
    )
    (tmp_path / "users.dat").write_text("1::F::1::10::48067\n2::M::56::16::70072\nx::M::1::1::1\n2::M::56::16::70072\n")
    assert _movies(spark, tmp_path) == {
        1: ("Cité des enfants perdus, La (1995)", 1995, ["Adventure", "Sci-Fi"]),
        3: ('"Quoted" (1997)', 1997, ["Comedy"]),
    }
    users = good_rows(_read(spark, tmp_path, "users"))
    assert _rows(users_table(users)) == [(1, "F", "1", "10", "48067"), (2, "M", "56", "16", "70072")]


def test_windows_1252_is_read_although_spark_does_not_know_it(spark: Any, tmp_path: Path) -> None:
    path = tmp_path / "movies.txt"
    path.write_bytes("1,“Café” – 5€ (1999)\n".encode("windows-1252") + b"2,\x81 (1999)\n")
    layout = TextLayout(",", ("movie_id", "title"), "windows-1252", quoted=True)
    rows = read_side_table(spark, find_files(str(path), ""), layout, side_tables()["movies"], "bigint")
    rows = rows.select("movie_id", "title", "reason")
    assert _rows(rows) == [(1, "“Café” – 5€ (1999)", None), (2, "\x81 (1999)", "unreadable_encoding")]


def test_a_synthetic_100k_set(spark: Any, tmp_path: Path) -> None:
    def item(number: int, title: str, *genres: str) -> str:
        flags = "|".join(str(int(genre in genres)) for genre in ML_100K_GENRES)
        return f"{number}|{title}|01-Jan-1995||http://us.imdb.com/M/title-exact?{number}|{flags}"

    (tmp_path / "u.data").write_text("1\t1\t3\t4\n")
    lines = [
        item(1, "Toy Story (1995)", "Animation", "Children's", "Comedy"),
        item(2, "Misérables, Les (1995)", "Drama", "Film-Noir", "Sci-Fi"),
        item(267, "unknown", "unknown"),
        item(4, "Too Short (1990)")[:-2],
    ]
    (tmp_path / "u.item").write_bytes("\n".join(lines).encode("iso-8859-1"))
    (tmp_path / "u.user").write_text("1|24|M|technician|85711\n2|53|F|other|94043\n")
    assert _movies(spark, tmp_path) == {
        1: ("Toy Story (1995)", 1995, ["Animation", "Children's", "Comedy"]),
        2: ("Misérables, Les (1995)", 1995, ["Drama", "Film-Noir", "Sci-Fi"]),
        267: ("unknown", None, []),
    }
    users = good_rows(_read(spark, tmp_path, "users"))
    assert _rows(users_table(users)) == [
        (1, "M", "24", "technician", "85711"),
        (2, "F", "53", "other", "94043"),
    ]


def test_tags_are_lower_case_without_blanks(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n")
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n")
    (tmp_path / "tags.csv").write_text(
        'userId,movieId,tag,timestamp\n1,2, Funny ,5\n1,3,"dark, ""noir""",6\n1,4,"""Best"" ÉTÉ",x\n1,x,a,5\n'
    )
    tags = good_rows(_read(spark, tmp_path, "tags"))
    assert _rows(tags_table(tags)) == [
        (1, 2, "funny", 5),
        (1, 3, 'dark, "noir"', 6),
        (1, 4, '"best" été', None),
    ]


def test_the_bundled_catalogue(spark: Any, ml_small: Path) -> None:
    movies = _movies(spark, ml_small)
    assert len(movies) == 9_742
    # 20 labels in the file, of which "(no genres listed)" names none.
    assert len({genre for _, _, genres in movies.values() for genre in genres}) == 19
    assert sum(not genres for _, _, genres in movies.values()) == 34
    assert movies[2571] == ("Matrix, The (1999)", 1999, ["Action", "Sci-Fi", "Thriller"])


def _parquet_movies(spark: Any, path: Path, id_type: str, **names: str) -> Any:
    columns = movie_columns(SourceColumns(**names))
    files = read_footers(find_files(str(path), ""), columns, required_columns(columns))
    return read_parquet_movies(spark, files, id_type)


def test_a_movie_table_in_parquet(spark: Any, tmp_path: Path) -> None:
    path = tmp_path / "movies.parquet"
    pq.write_table(pa.table({"film": ["a", "b"], "tags": [["x", ""], []], "name": ["A (1990)", "B"]}), path)
    columns = {"movie": "film", "title": "name", "genres": "tags"}
    found = _rows(movies_table(_parquet_movies(spark, path, "string", **columns)))
    assert found == [("a", "A (1990)", 1990, ["x"]), ("b", "B", None, [])]
    bare = _rows(movies_table(_parquet_movies(spark, path, "string", movie="film")))
    assert bare == [("a", None, None, []), ("b", None, None, [])]
    with pytest.raises(InputError, match=r"the table lacks the column movie_id; found film, tags, name"):
        _parquet_movies(spark, path, "string")
    with pytest.raises(InputError, match=r"the table lacks the column nme, kinds; found film, tags, name"):
        _parquet_movies(spark, path, "string", movies_id="film", title="nme", genres="kinds")


def test_genres_of_parquet_may_be_structs_with_a_name(spark: Any, tmp_path: Path) -> None:
    path = tmp_path / "movies.parquet"
    structs = [[{"id": 1, "name": "Action"}, {"id": 2, "name": "War"}], None]
    pq.write_table(pa.table({"movie_id": [1, 2], "genres": structs}), path)
    rows = _parquet_movies(spark, path, "bigint")
    assert _rows(movies_table(rows)) == [(1, None, None, ["Action", "War"]), (2, None, None, [])]
    pq.write_table(pa.table({"movie_id": [1], "genres": [{"id": 1}]}), path)
    with pytest.raises(InputError, match=r"genres is struct<id: int64>; expected a text or a list of texts"):
        _parquet_movies(spark, path, "bigint")


def test_files_of_a_movie_table_in_parquet_may_lack_columns_or_their_values(spark: Any, tmp_path: Path) -> None:
    ids = {"a": [1.0, 2.0], "b": [3, 4], "c": [5, None], "d": pa.array([6], pa.uint64()), "e": pa.nulls(2)}
    others: dict[str, dict[str, Any]] = {
        "a": {"title": [None, None], "genres": [["Action"], None]},
        "b": {},
        "c": {"genres": pa.nulls(2)},
        "d": {"title": ["F (1996)"], "genres": [[{"name": "War"}]]},
        "e": {},
    }
    for name, column in ids.items():
        pq.write_table(pa.table({"movie_id": column} | others[name]), tmp_path / f"{name}.parquet")
    rows = _parquet_movies(spark, tmp_path, "bigint")
    nothing = (None, None, [])
    assert {row[0]: row[1:] for row in _rows(movies_table(good_rows(rows)))} == {
        **dict.fromkeys((2, 3, 4, 5), nothing),
        1: (None, None, ["Action"]),
        6: ("F (1996)", 1996, ["War"]),
    }
    assert [row.row for row in rows.collect() if row.reason == "missing_movie_id"] == [1, 0, 1]


def test_movies_of_a_parquet_table_need_an_id(spark: Any, tmp_path: Path) -> None:
    path = tmp_path / "movies.parquet"
    pq.write_table(pa.table({"movie_id": pa.array([7.0, None, -1.0, 1.5, float("nan"), 2.0**53], pa.float64())}), path)
    rows = _parquet_movies(spark, path, "bigint")
    assert _rows(rows.select("row", "movie_id", "reason", "raw")) == [
        (0, 7, None, '{"movie_id":7.0}'),
        (1, None, "missing_movie_id", "{}"),
        (2, -1, None, '{"movie_id":-1.0}'),
        (3, None, "bad_movie_id", '{"movie_id":1.5}'),
        (4, None, "missing_movie_id", '{"movie_id":"NaN"}'),
        (5, None, "bad_movie_id", '{"movie_id":9.007199254740992E15}'),
    ]
