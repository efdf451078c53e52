"""The cause of an error that nobody foresaw, as one line in the user's terms.

Such an error comes from Spark (a Java exception with its chain of causes), from a Python worker (a traceback inside a
Java exception), from a library, or from the machine. Conditions of the machine have sentences that say what to do.
Everything else becomes the innermost cause, without stacks and JSON.
"""

import re
from urllib.parse import unquote

from kgspark.extras import advice_for

_MEMORY = (
    "close other programs, give the machine more memory, or lower spark.driver_memory, train.batch_size or train.dim"
)
# Conditions by a pattern of the whole text of an error; the first that matches gives the sentence.
_CONDITIONS = tuple(
    (re.compile(pattern), sentence)
    for pattern, sentence in (
        (
            r"No space left on device|Disk quota exceeded|\[Errno 28\]",
            "no space left on a disk{place}; free some, or move spark.conf.spark.local.dir, TMPDIR or the lake to a "
            "larger disk",
        ),
        (
            r"Too many open files|\[Errno 24\]",
            "too many open files{place}; raise the limit of the process, for example with: ulimit -n 65536",
        ),
        (
            r"Read-only file system|\[Errno 30\]",
            "the file system is read-only{place}; mount it for writing, or move the lake, TMPDIR or spark.local.dir",
        ),
        (
            r"No usable temporary directory|Failed to create (?:a temp|local) directory|Failed to create local dir|"
            r"Failed to get a temp directory",
            "no temporary folder can be written; create the one that TMPDIR, SPARK_LOCAL_DIRS or "
            "spark.conf.spark.local.dir names",
        ),
        (
            r"OutOfMemoryError: (?:Java heap|GC overhead|Requested array)|SparkOutOfMemoryError",
            "Spark's memory is too small; raise spark.driver_memory, or spark.conf.spark.executor.memory on a cluster",
        ),
        (
            r"unable to create (?:new )?native thread|can't start new thread|Resource temporarily unavailable",
            "the system allows no more threads or processes; raise the limit, for example with: ulimit -u 8192",
        ),
        (
            r"CUDA out of memory|CUDA error: out of memory",
            "the GPU's memory is too small; lower train.batch_size or train.dim, or set train.device=cpu",
        ),
        (
            r"\bMemoryError\b|Cannot allocate memory|\[Errno 12\]|std::bad_alloc|can't allocate memory|"
            r"Could not reserve enough space|ArrowMemoryError|Map failed",
            f"the machine has too little memory; {_MEMORY}",
        ),
        (
            r"Python worker exited unexpectedly",
            f"a Python worker of Spark was ended, probably because memory ran out; {_MEMORY}",
        ),
        (
            r"Py4JNetworkError|Answer from Java side is empty",
            "Spark's JVM ended while it was needed: it was killed, or memory ran out",
        ),
        (r"\bRecursionError\b", "something is nested too deeply; simplify the configuration or the SQL expression"),
    )
)
# The place in an error about a file: Python's OSError, Java's "/path (No space left on device)", and the table that
# Spark was writing, perhaps from temporary files on another disk.
_PLACES = (
    (re.compile(r"\[Errno \d+\][^:\n]*: '([^'\n]+)'"), " ({})"),
    (re.compile(r"(/[^\n()]*?) \((?:No space|Too many|Read-only)"), " ({})"),
    (
        re.compile(r"Task failed while writing rows to file:/*(/[^\n]+?)\.?(?: SQLSTATE|\n|$)"),
        " (while {} was written)",
    ),
)
# Conditions of an object store or a catalogue, in the words of the clients of S3, GCS and Azure. The text that is found
# stands in the sentence.
_STORE_CONDITIONS = tuple(
    (re.compile(pattern), sentence)
    for pattern, sentence in (
        (
            r"169\.254\.169\.254",
            "no key was found, also not from the machine's role ({}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ),
        (
            r"NoSuchBucket|NO_SUCH_BUCKET|ContainerNotFound|The specified bucket does not exist",
            "the bucket does not exist ({}); make it, or correct its name or AWS_ENDPOINT_URL",
        ),
        (
            r"SignatureDoesNotMatch|SIGNATURE_DOES_NOT_MATCH|InvalidAccessKeyId|INVALID_ACCESS_KEY_ID|ExpiredToken|"
            r"AuthenticationFailed|Unauthorized",
            "the store refuses the key ({}); correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the keys in the "
            "settings",
        ),
        (
            r"AccessDenied|ACCESS_DENIED|AuthorizationPermissionMismatch|lacked the necessary privileges|403 Forbidden",
            "the key may not do this ({}), or there is none; give it the right to read, write, list and delete there",
        ),
        (
            r"Connection refused|Could not (?:connect|resolve)[\w ]*|failed to lookup address[\w ]*|"
            r"Failed to (?:resolve|establish)[\w ]*|Timeout was reached|(?:operation|Read) timed out",
            "the store does not answer ({}); correct AWS_ENDPOINT_URL or the address in the settings, or wait for it",
        ),
    )
)
_DECORATION = re.compile(r"\x1b\[[\d;]*m|↳")  # colours and branches of the trees that deltalake writes
_LINES = 4
_TRACEBACK = "Traceback (most recent call last):"
_CAUSED_BY = re.compile(r"^Caused by: (.*)$", re.MULTILINE)
_CLASS = re.compile(r"^(?:[a-z_][\w$]*\.)+([A-Z][\w$]*)(?:: |$)")
_SQLSTATE = re.compile(r"\.?\s*\bSQLSTATE: \w{5}\b")
# A file that Spark names in an outer exception, where the inner one says only what is wrong with it.
_FILE = re.compile(r"(?:reading file|read footer for file:?|FILE_NOT_EXIST\]|the path)[^\n]*?(file:/[^\s,;']+)")


def cause_of(error: BaseException) -> str:
    """The innermost cause of `error` as one line; for a condition of the machine, a sentence that says what to do."""
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("kgspark"):
        package = error.name.partition(".")[0]
        return f"the package {package} is missing; {advice_for(package)}"
    text = _text_of(error)
    if condition := condition_in(text):
        return condition
    if worker := traceback_error(text):
        return _in_file(worker, text)
    java = _CAUSED_BY.findall(text)
    if java or _is_java(error):
        return _in_file(_java_message(java[-1] if java else text), text)
    first = _first_line(_safe_str(error))
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def is_of_machine(error: BaseException) -> bool:
    """True if the error tells of a condition of the machine, such as a full disk."""
    return bool(condition_in(_text_of(error)))


def condition_in(text: str) -> str:
    """The sentence for the condition of the machine that the text tells of; empty if it tells of none."""
    for pattern, sentence in _CONDITIONS:
        if pattern.search(text):
            found = (words.format(match.group(1)) for place, words in _PLACES if (match := place.search(text)))
            return sentence.format(place=next(found, ""))
    return ""


def store_cause(error: BaseException) -> str:
    """The error of a client of an object store or a catalogue, as one line; if it is known, with what to do."""
    text = _DECORATION.sub("", _text_of(error))
    for pattern, sentence in _STORE_CONDITIONS:
        if found := pattern.search(text):
            return sentence.format(found.group(0))
    lines = _DECORATION.sub("", _safe_str(error)).splitlines()
    return ": ".join(filter(None, map(str.strip, lines[:_LINES]))) or type(error).__name__


def traceback_error(text: str) -> str:
    """The last line of the last Python traceback in the text: class and message; empty if there is none.

    A message of kgspark's own errors is complete, so it comes without its class.
    """
    _, found, after = text.rpartition(_TRACEBACK)
    lines = (line for line in after.splitlines() if line.strip() and not line.startswith(" ")) if found else iter(())
    return re.sub(r"^kgspark\.errors\.\w+: ", "", next(lines, "").strip())


def java_error(output: str) -> str:
    """The reason why a JVM ended, in one line, from its output: its last exception, or its last words."""
    caused = _CAUSED_BY.findall(output)
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.lstrip().startswith("at ")]
    return _java_message(caused[-1]) if caused else " ".join(lines[-3:])[:300]


def worker_error(output: str) -> str:
    """The reason why a worker of a training failed, in one line, from its whole output."""
    told = re.findall(r"kgspark: error: (.*)", output)
    errors = re.findall(r"^(\w*(?:Error|Exception): .*)", output, re.MULTILINE)
    last = output.strip().rpartition("\n")[2]
    return told[-1] if told else condition_in(output) or (errors[-1] if errors else f"a worker failed: {last}")


def _text_of(error: BaseException) -> str:
    """Everything that the error and its causes say, with the stacks that Spark's exceptions carry."""
    texts, seen = [], set[int]()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        texts += [f"{type(current).__name__}: {_safe_str(current).strip()}", str(getattr(current, "_stackTrace", ""))]
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\n".join(texts)


def _safe_str(error: BaseException) -> str:
    try:
        return str(error)  # Py4J asks the JVM for it, which may be gone
    except Exception as second:
        return f"{type(second).__name__}: {second}"


def _is_java(error: BaseException) -> bool:
    return type(error).__module__.split(".")[0] in ("pyspark", "py4j")


def _java_message(text: str) -> str:
    """The message of a Java exception without packages, SQLSTATE and what follows the first line."""
    lines = [line.strip() for line in text.splitlines()]
    # "Py4JJavaError: An error occurred while calling o1.x." comes before the exception itself.
    lines = [re.sub(r"^: ", "", line) for line in lines if line and "An error occurred while calling" not in line]
    line = re.sub(r"^\w+(?:Exception|Error): (?=\[)", "", lines[0]) if lines else "no message"
    found = _CLASS.match(line)
    if found:
        message = line[found.end() :]
        line = message if len(message) > 20 else f"{found.group(1)}: {message}".rstrip(": ")
    return _SQLSTATE.sub("", line)


def _in_file(message: str, text: str) -> str:
    """The message with the file that was read, if Spark names it and the message does not."""
    found = _FILE.findall(text)
    path = re.sub(r"^file:/+", "/", unquote(found[-1])).rstrip(".") if found else ""
    message = re.sub(r"\bfile:/+", "/", message)
    return message if not path or path in message else f"{path}: {message}"


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
