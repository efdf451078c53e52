"""Spellings of ids, ratings and times, and a parser for them that shares no code with kgspark.

The parser follows the page docs/own-data.md, character by character.
"""

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

DIGITS = set("0123456789")
NULLS = {"NULL", "null", r"\N", "nan", "NaN", "None", "<NA>", "N/A"}


def is_digits(text: str) -> bool:
    return text != "" and set(text) <= DIGITS


def integer_id(text: str) -> int | str:
    """The id, or the reason why the text is none."""
    text = text.strip(" ")
    if text == "" or text in NULLS:
        return "missing"
    sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text)
    digits, point, fraction = digits.partition(".")
    if not is_digits(digits) or (point and (fraction == "" or set(fraction) != {"0"})):
        return "bad"
    if digits.startswith("0") and len(digits) > 1:
        return "leading_zeros"
    if sign and digits == "0":
        return "bad"
    number = int(sign + digits)
    largest = 2**53 - 1 if point else 2**63 - 1
    return number if -largest - (0 if point else 1) <= number <= largest else "bad"


def string_id(text: str) -> str:
    text = text.strip(" ")
    return "missing" if text == "" or text in NULLS else f"id {text}"


def rating(text: str, low: float = 0.5, high: float = 5.0) -> float | str:
    """The rating on a scale of half steps, or the reason why the text is none."""
    mantissa, e, exponent = text.strip(" ").replace("E", "e").partition("e")
    whole, _, fraction = mantissa.removeprefix("-").partition(".")
    if not is_digits(whole + fraction) or (e and not is_digits(exponent.removeprefix("-").removeprefix("+"))):
        return "rating_not_a_number"
    if e and exponent[:2] in ("-+", "+-"):
        return "rating_not_a_number"
    number = float(f"{mantissa}e{exponent or 0}")
    if not low <= number <= high:
        return "rating_out_of_range"
    halves = round(number * 2)
    return halves / 2 if abs(number * 2 - halves) <= 1e-6 else "rating_off_step"


def seconds(text: str, whole_only: bool = True) -> float | str:
    """The time in seconds since 1970, whole or with its fraction, or the reason why the text is none."""
    whole, point, fraction = text.strip(" ").partition(".")
    if not is_digits(whole) or (point and not is_digits(fraction)) or int(whole) > 4_102_444_799:
        return "timestamp_not_a_time"
    return int(whole) if whole_only else float(text)


def spellings(count: int, forbidden: str, encoding: str) -> list[str]:
    """`count` texts: numbers with something odd before or behind them, and any other text.

    forbidden  characters that the dialect cannot have inside a field
    """
    odd = [*[""] * 120, " ", "  ", "+", "-", "--", "0", "00", ".", ".0", ".00", ".5", "e1", "E-1", "e+0", "\t", "\x01"]
    odd += ["\x0b", "\x1f", "\x7f", "\x85", "\xa0", "\u2028", "\u3000", "\ufeff", "٣", "x", "f", "d", "L", "_", ","]
    odd += ['"', "'", ":", "%", "\\"]
    usual = [
        "0",
        "1",
        "3",
        "4.5",
        "5",
        "12",
        "0.5",
        "100",
        "1600001020",
        "4102444799",
        "4102444800",
        "Infinity",
        "0x1F",
    ]
    usual += [str(2**53), str(2**53 - 1), str(2**63 - 1), str(2**63), *sorted(NULLS)]
    numbers = st.one_of(
        st.sampled_from(usual),
        st.integers(-(2**65), 2**65).map(str),
        st.integers(0, 50).map(lambda tenth: str(tenth / 10)),
        st.text(max_size=4),
    )
    parts = st.tuples(st.sampled_from(odd), st.sampled_from(odd), numbers, st.sampled_from(odd), st.sampled_from(odd))

    def is_possible(text: str) -> bool:
        fits = text.encode(encoding, "replace").decode(encoding) == text
        return fits and not set(text) & set(forbidden) and '\\"' not in text

    found: list[str] = []

    @seed(22)
    @settings(max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(parts.map("".join).filter(is_possible))
    def collect(text: str) -> None:
        found.append(text)

    collect()
    return found
