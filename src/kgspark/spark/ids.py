"""Ids of users and movies, read from text in one way everywhere: in ratings, side tables and the user's own tables."""

import re
from collections.abc import Sequence

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import BinaryType, DataType, DecimalType, DoubleType, FloatType

# The reasons to refuse an id, in the order in which they are tried.
ID_PROBLEMS = ("missing", "leading_zeros", "bad")
# Doubles hold every whole number below this one. Above it, `12.0` may have been another number before it was written.
_EXACT_BELOW = 1 << 53
# \z and not $, which in Java also matches before a last line end.
_INTEGER = r"^(?:0|-?[1-9][0-9]*)\z"
_WHOLE_FLOAT = r"^(?:0|-?[1-9][0-9]*)\.0+\z"
_LEADING_ZEROS = r"^-?0[0-9]+(?:\.0+)?\z"
# Stands for bytes that are no text. Two ids with it may have been different ones.
_REPLACEMENT = "\ufffd"


def read_id(value: Column, id_type: str, null_texts: Sequence[str] = ()) -> Column:
    """The id in a text column, with its type; null if the text is no id.

    value       a string column; `id_text` makes one from a column of another type
    id_type     bigint or string, the Spark type of all user and movie ids of a night
    null_texts  texts that stand for a missing id, `source.null_texts`

    Blanks (U+0020) around an id are not part of it.
    bigint: digits without a leading zero, after a minus sign or not, from -2^63 to 2^63 - 1. `12.0`, which pandas
    writes for 12 if the column has gaps, is 12 if the number is below 2^53. No id are `+12`, `1e3`, `1 2`, `1.5`, an
    empty text, and any text with another character, such as a control character or a digit of another script. `007` is
    no id either: as an integer it would be equal to `7`; see `has_leading_zeros`.
    string: any text that is not empty, kept as it is; but for U+FFFD, which stands for bytes that are no text.
    """
    if id_type == "bigint":
        missing = [int(text) for text in null_texts if re.fullmatch(r"-?[0-9]{1,18}", text)]
        number = digits_or(value, _rare_integer(F.trim(value)))
        return F.when(~number.isin(missing), number) if missing else number
    text = F.trim(value)
    longest = max((len(missing.encode()) for missing in null_texts), default=0)
    # Most ids are longer than all of these texts, so that they need not be compared with them.
    named = (F.octet_length(text) > longest) | ~text.isin("", *null_texts)
    return F.when(named & ~F.contains(text, F.lit(_REPLACEMENT)), text)


def digits_or(value: Column, other: Column) -> Column:
    """The number in a text column as bigint if it is digits alone without a leading zero, else `other`.

    Nearly every number is such a text, which is proved without a regular expression. Spark's cast also accepts signs,
    zeros and control characters, but it gives 10^(n-1) or more for a text of n bytes only if each byte is a digit and
    the first is not 0.
    """
    number = value.try_cast("bigint")
    least = F.array(*[F.lit(10**power if power else 0).cast("bigint") for power in range(19)])
    return F.when(number >= F.get(least, F.octet_length(value) - 1), number).otherwise(other)


def _rare_integer(text: Column) -> Column:
    """The integer id in a text that is not digits alone, or null."""
    whole = F.substring_index(text, ".", 1).try_cast("bigint")
    return F.when(text.rlike(_INTEGER), text.try_cast("bigint")).when(
        text.rlike(_WHOLE_FLOAT) & whole.between(1 - _EXACT_BELOW, _EXACT_BELOW - 1), whole
    )


def has_leading_zeros(value: Column) -> Column:
    """True for a text such as `007`: no integer id, but one if `source.ids` is string. Null for null."""
    return F.trim(value).rlike(_LEADING_ZEROS)


def is_missing_id(value: Column, null_texts: Sequence[str] = ()) -> Column:
    """True for a text that stands for no id at all: null, blank, or one of `null_texts`. Never null."""
    text = F.trim(value)
    missing = value.isNull() | (text == "")
    return missing | text.isin(*null_texts) if null_texts else missing


def id_problems(
    number_or_text: Column, value: Column, id_type: str, null_texts: Sequence[str] = ()
) -> dict[str, Column]:
    """The conditions under which an id is refused, by name: the first one that is true is the problem.

    number_or_text  what `read_id` gave for the text `value`; null in each of the conditions, so that a good line needs
                    no look at the text
    """
    is_bad = number_or_text.isNull()
    zeros = has_leading_zeros(value) if id_type == "bigint" else F.lit(False)
    return {"missing": is_bad & is_missing_id(value, null_texts), "leading_zeros": is_bad & zeros, "bad": is_bad}


def id_text(value: Column, data_type: DataType) -> Column:
    """A column of any atomic type as text for `read_id`: 12.0 as `12`, and NaN, which pandas writes for a gap, as null.

    Bytes are text in UTF-8; those that are not become U+FFFD. A floating number that is not whole, or too large to be
    exact, gets a text that is no integer: `1.5`, `1.0E16`. Databases give numbers without a declared scale as decimals
    such as 12.0000000000, which is `12`, too.
    """
    if isinstance(data_type, BinaryType):
        return F.make_valid_utf8(value.cast("string"))
    if isinstance(data_type, DecimalType) and data_type.scale:
        return F.regexp_replace(value.cast("string"), r"\.0+$", "")
    if not isinstance(data_type, FloatType | DoubleType):
        return value.cast("string")
    number = value.cast("double")
    exact_below = 1 << 24 if isinstance(data_type, FloatType) else _EXACT_BELOW
    is_whole = (F.abs(number) < exact_below) & (F.floor(number) == number)
    text = F.when(is_whole, number.cast("bigint").cast("string")).otherwise(value.cast("string"))
    return F.when(~F.isnan(number), text)
