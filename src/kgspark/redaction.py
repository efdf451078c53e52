"""Removes secrets from text for people: error lines, logs and traces."""

import re

_HIDDEN = "***"
# Words in the name of a key whose value is a secret; `key` only where it is a whole word of the name.
_SECRET_KEY = re.compile(
    r"(?i)secret|passw(?:or)?d|passphrase|pwd|token|credential|(?:access|api|private)[._-]?key|(?:^|[._-])key(?:[._-]|$)"
)
_WORD = r"(?:secret|passw(?:or)?d|passphrase|pwd|token|credential|(?:access|api|private|account)[._-]?key)"
_PATTERNS = (
    # //user:password@host, and Oracle's user/password@host
    re.compile(r"(:/+[^\s/:@]*:)[^\s/]+(?=@)"),
    re.compile(r"(jdbc:oracle:\w+:[^\s/@]+/)[^\s@]+(?=@)"),
    # password=value, also as one parameter of several, and "password": "value"
    re.compile(rf"""(?i)([\w.-]*{_WORD}[\w.-]*(?:\s?=\s?|["']\s?:\s?))(?:"[^"]*"|'[^']*'|[^\s"'&;,)}}]+)"""),
)
# Values of this process that must not be shown, whatever text surrounds them.
_values: set[str] = set()


def is_secret(key: str) -> bool:
    """True if the value of a key with this name is probably a secret: a password, a token, an access key."""
    return bool(_SECRET_KEY.search(key))


def hide(value: str) -> None:
    """Lets `redact` remove this value from every text from now on."""
    if len(value) > 3 and value not in ("true", "false"):  # these would take other texts apart
        _values.add(value)


def redact(text: str) -> str:
    """The text with *** in place of hidden values, passwords in addresses, and values like `password=...`."""
    for value in sorted(_values, key=len, reverse=True):
        text = text.replace(value, _HIDDEN)
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\1{_HIDDEN}", text)
    return text
