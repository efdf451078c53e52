"""`kgspark STAGE CONF [dotted.key=value ...]`: the only place that parses arguments, prints, and sets an exit code."""

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import kgspark
from kgspark import config
from kgspark.errors import KgsparkError
from kgspark.night.night import open_night
from kgspark.night.settings import NightSettings
from kgspark.runs import Outcome

STAGES = {
    "nightly": "the whole night, stage by stage",
    "clean-ratings": "source files to clean ratings, movies, users, tags, and a quarantine",
    "index-entities": "a contiguous index for every user, movie, genre and further kind",
    "write-triples": "the knowledge graph as triple shards, split into train, valid and test",
    "train-embeddings": "tgraphx embeddings, and the vectors to rank with",
    "recommend": "every user's top-K unseen movies, and every movie's audience",
    "publish": "audit, then one atomic move into the warehouse",
    "evaluate": "metrics of the night's model and of baselines on the held-out likes",
    "tune": "settings searched on the validation likes, trial by trial",
    "bench": "kgspark beside its peers: nightly, train, topk, index, etl, models or graph, in the place of CONF",
    "generate": "synthetic ratings of any size, into a new folder in the place of CONF",
}

# They take a name in the place of a configuration file.
_WITHOUT_CONF = ("bench", "generate")
# Modules that are no stage of a night.
_MODULES = {
    "evaluate": "kgspark.experiments.evaluate",
    "tune": "kgspark.experiments.tune",
    "generate": "kgspark.experiments.generate",
    "bench": "kgspark.bench.run",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns 0 only when its output is committed. Errors are one line on standard error."""
    # OpenMP threads that spin while they wait slow training down fivefold where other processes want the cores too, and
    # threads that never spin slow it by half where none does: a short spin costs little either way.
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")
    parsed = _parser().parse_intermixed_args(arguments)
    say = _say_on(sys.stderr if parsed.json else sys.stdout)
    try:
        answer = _run(parsed, say)
    except KgsparkError as error:
        return _fail(" ".join(str(error).split()))
    except KeyboardInterrupt:
        return _fail("interrupted; the tables are as they were, and the next call goes on from the last stage", 130)
    except BrokenPipeError:
        return 1
    except Exception as error:
        return _fail(_unexpected(error))
    if parsed.json:
        print(json.dumps(answer, indent=2, ensure_ascii=False))
    return 0


def _parser() -> argparse.ArgumentParser:
    stages = "\n".join(f"  {name:<18}{text}" for name, text in STAGES.items())
    parser = argparse.ArgumentParser(
        prog="kgspark",
        description=f"{kgspark.__doc__}\n\nstages:\n{stages}",
        epilog="conf/nightly.yaml holds every key with its default. Dashes and underscores are the same in STAGE.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"kgspark {kgspark.__version__}")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output, the rest on error")
    parser.add_argument("stage", metavar="STAGE", type=_stage_name, help="see above")
    parser.add_argument("conf", metavar="CONF", help="a YAML file (see above for bench and generate)")
    parser.add_argument("overrides", metavar="dotted.key=value", nargs="*", help="settings over the file's")
    return parser


def _stage_name(text: str) -> str:
    name = text.replace("_", "-")
    if name not in STAGES:
        raise argparse.ArgumentTypeError(f"unknown stage {text!r}; expected one of {', '.join(STAGES)}")
    return name


def _run(parsed: argparse.Namespace, say: Callable[[str], None]) -> object:
    # A stage brings its engine with it, so only what runs is imported.
    module = import_module(_MODULES.get(parsed.stage, f"kgspark.stages.{parsed.stage.replace('-', '_')}"))
    if parsed.stage in _WITHOUT_CONF:
        return module.run(parsed.conf, parsed.overrides, say)
    settings = config.load(NightSettings, Path(parsed.conf), parsed.overrides)
    with open_night(settings, say) as night:
        answer = module.run(night)
        return {"stages": [vars(outcome) for outcome in night.outcomes]} if isinstance(answer, Outcome) else answer


def _say_on(stream: object) -> Callable[[str], None]:
    return lambda text: print(text, file=stream, flush=True)  # type: ignore[call-overload]


def _fail(message: str, code: int = 1) -> int:
    print(f"kgspark: error: {message}", file=sys.stderr, flush=True)
    return code


def _unexpected(error: Exception) -> str:
    """One line of an error that is a defect or a broken machine; the trace goes to a file for the report."""
    if os.environ.get("KGSPARK_TRACE"):
        traceback.print_exc()
    trace = Path(os.environ.get("TMPDIR", "/tmp")) / f"kgspark-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    trace.write_text(traceback.format_exc(), encoding="utf-8")
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}; the full trace is in {trace}"


if __name__ == "__main__":
    sys.exit(main())
