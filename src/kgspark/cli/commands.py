"""The table of commands. A new command is a module with `run`, and a line here."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from kgspark.errors import ConfigError

_STAGES, _EXPERIMENTS, _TOOLS = "kgspark.stages", "kgspark.experiments", "kgspark.tools"
# A setting on the command line. Other words may have an equals sign, too: titles do.
_SETTING = re.compile(r"[a-z_]+(\.[^\s.=]+)*=")


@dataclass(frozen=True)
class Option:
    """An option of one command, such as `--out FILE`.

    name     without the dashes
    value    what its value is called in the help; empty for an option without a value
    module   of an option without a value of a command of a night: the module whose `run(night)` takes the place of the
             command's, and which changes nothing
    """

    name: str
    help: str
    value: str = ""
    module: str = ""


@dataclass(frozen=True)
class Command:
    """One command.

    module    the module whose `run` does the work; it imports its engines, so it is imported last
    help      one line about the command
    sections  the sections of settings that it reads, for its --help; empty means all
    argument  its first argument; in brackets if it may be absent
    night     True to call `run(night)` with the night of CONF; else `run(argument, others, say, **options)`
    others    False if no settings may follow the first argument
    group     the commands that the help lists together
    example   settings that an example in the help has after CONF
    words     the settings that words after CONF stand for: the first word, and the list of the others; empty for none
    locks     True if it works on the night's tables, so that no other process may do so meanwhile
    asks      words after CONF that are no settings, as the usage names them; `run(night, words)` gets them. The last
              one takes all further words, because titles have several; one in brackets may be missing
    """

    module: str
    help: str
    sections: tuple[str, ...] = ()
    argument: str = "CONF"
    words: tuple[str, ...] = ()
    locks: bool = True
    night: bool = True
    others: bool = True
    options: tuple[Option, ...] = ()
    group: str = "Nights"
    example: str = ""
    asks: tuple[str, ...] = ()

    def chosen(self, options: Collection[str]) -> "Command":
        """The command with the module of one of the given options, if one of them has a module."""
        modules = [option.module for option in self.options if option.name.replace("-", "_") in options]
        return replace(self, module=modules[0], locks=False) if modules and modules[0] else self

    @property
    def usage(self) -> str:
        """What follows the first argument, for the usage and for errors."""
        words = "DATE [TARGET]... " if self.words else "".join(f"{word} " for word in self.asks)
        return f"{words}[dotted.key=value]..."

    def questions(self, others: Sequence[str]) -> list[str]:
        """The words for `asks` among what follows CONF; ConfigError if one is missing."""
        words = [word for word in others if not _SETTING.match(word)]
        least = sum(not word.startswith("[") for word in self.asks)
        if len(words) < least:
            raise ConfigError(
                f"command line: expected {self.asks[len(words)]} after {('CONF', *self.asks)[len(words)]}"
            )
        most = len(self.asks)
        return words if len(words) <= most else [*words[: most - 1], " ".join(words[most - 1 :])]

    @property
    def observed_as(self) -> str:
        """The name that observers are told, for the whole night and for a stage; empty for other commands."""
        package, _, name = self.module.rpartition(".")
        return name.replace("_", "-") if package == _STAGES else ""

    def overrides(self, others: Sequence[str]) -> list[str]:
        """What follows CONF as `dotted.key=value`; ConfigError if the first of `words` is missing."""
        if self.asks:
            return [word for word in others if _SETTING.match(word)]
        words = [word for word in others if "=" not in word] if self.words else []
        if self.words and not words:
            raise ConfigError(f"command line: expected a value of {self.words[0]} after CONF")
        lists = [f"{key}=[{', '.join(words[1:])}]" for key in self.words[1:] if words[1:]]
        return [*(f"{key}={words[0]}" for key in self.words[:1]), *lists, *(it for it in others if it not in words)]


_FIRST, _STAGE, _MEASURE = "First steps", "The stages of a night, in their order", "Measure and choose"
_NIGHT = (
    "source",
    "clean",
    "relations",
    "split",
    "triples",
    "train",
    "candidates",
    "recommend",
    "audiences",
    "publish",
)

COMMANDS = {
    "init": Command(
        "kgspark.inspection.init",
        "Look at your own tables, and write a configuration for them.",
        group=_FIRST,
        argument="PATH",
        night=False,
        others=False,
        options=(
            Option("out", "The file to write, own.yaml if not given; it must not exist.", "FILE"),
            Option("print", "Print the configuration, and write nothing."),
        ),
    ),
    "example": Command(
        "kgspark.datasets.example",
        "Write the bundled MovieLens data and its configuration into a new folder.",
        group=_FIRST,
        argument="[FOLDER]",
        night=False,
        others=False,
    ),
    "fetch": Command(
        "kgspark.datasets.fetch",
        "Download a MovieLens data set, and write its configuration.",
        group=_FIRST,
        argument="DATASET",
        night=False,
        others=False,
        options=(
            Option("to", "The folder to make the data set's folder in; data if not given.", "FOLDER"),
            Option("url", "Address of a mirror instead of GroupLens; KGSPARK_FETCH_URL does the same.", "URL"),
        ),
    ),
    "config": Command(
        "kgspark.tools.effective",
        "The settings that differ from their defaults, and where each value was written.",
        group=_FIRST,
        night=False,
        options=(Option("all", "Every key, also those with their defaults."),),
    ),
    "doctor": Command(
        "kgspark.tools.doctor",
        "Check Java, memory, packages, GPU, disk and connectors; say how to mend what is wrong.",
        group=_FIRST,
        argument="[CONF]",
        night=False,
    ),
    "nightly": Command(
        f"{_STAGES}.nightly",
        "The whole night, stage by stage.",
        options=(
            Option(
                "dry-run",
                "Only say which stages would run and why, with memory and time of the last night.",
                module=f"{_TOOLS}.dry_run",
            ),
        ),
    ),
    "clean-ratings": Command(
        f"{_STAGES}.clean_ratings",
        "Source files to clean ratings, movies, users, tags, and a quarantine.",
        ("source", "clean"),
        group=_STAGE,
        example="source.ids=string",
    ),
    "index-entities": Command(
        f"{_STAGES}.index_entities",
        "A contiguous index for every user, movie, genre and further kind.",
        ("relations",),
        group=_STAGE,
    ),
    "write-triples": Command(
        f"{_STAGES}.write_triples",
        "The knowledge graph as triple shards, split into train, valid and test.",
        ("relations", "split", "triples"),
        group=_STAGE,
        example="split.protocol=time",
    ),
    "train-embeddings": Command(
        f"{_STAGES}.train_embeddings",
        "Embeddings by tgraphx, and the vectors to rank with.",
        ("train",),
        group=_STAGE,
        example="train.model=complex train.epochs=20",
    ),
    "recommend": Command(
        f"{_STAGES}.recommend",
        "Every user's top-K unseen movies, and every movie's audience.",
        ("candidates", "recommend", "audiences"),
        group=_STAGE,
        example="recommend.k=20",
    ),
    "write-vectors": Command(
        f"{_STAGES}.write_vectors",
        "The vectors of users and movies as tables for a vector store.",
        ("vectors",),
        group=_STAGE,
        example="vectors.enabled=true",
    ),
    "publish": Command(
        f"{_STAGES}.publish",
        "Audit, then one atomic move into the warehouse.",
        ("publish", "keep"),
        group=_STAGE,
        example="publish.targets=[files,delta]",
    ),
    "evaluate": Command(
        f"{_EXPERIMENTS}.evaluate",
        "Metrics of the model and of baselines on held-out likes.",
        ("evaluate",),
        group=_MEASURE,
        example="evaluate.protocol=leave-one-out",
    ),
    "tune": Command(
        f"{_EXPERIMENTS}.tune",
        "Search for better settings on validation likes.",
        ("tune", "evaluate"),
        group=_MEASURE,
        example="tune.trials=20",
    ),
    "show": Command(
        f"{_TOOLS}.show",
        "A user's history and list, beside each other.",
        ("lake", "run_date", "names"),
        locks=False,
        asks=("USER",),
    ),
    "explain": Command(
        f"{_TOOLS}.explain",
        "Why a user is recommended a movie: the nearest likes, shared facts, and shares of the score.",
        ("lake", "run_date", "names"),
        locks=False,
        asks=("USER", "[MOVIE]"),
    ),
    "similar": Command(
        f"{_TOOLS}.similar",
        "The movies that are most like a movie, given by its id or its title.",
        ("lake", "run_date", "names"),
        locks=False,
        asks=("MOVIE",),
    ),
    "nights": Command(
        f"{_TOOLS}.nights",
        "The nights of the lake: state, model, metrics, minutes, and disk space.",
        ("lake",),
        locks=False,
    ),
    "report": Command(
        f"{_TOOLS}.report",
        "The page of a night, report.html in its folder: figures, lists, graph, map, what changed.",
        ("report", "names"),
        locks=False,
    ),
    "rollback": Command(
        f"{_TOOLS}.rollback",
        "Make an earlier night current again, in all targets or in those that are named.",
        ("publish",),
        words=("run_date", "publish.targets"),
        locks=False,
    ),
    "contract": Command(
        f"{_TOOLS}.contract",
        "The published tables as an ODCS data contract and as dbt sources.",
        ("contract", "names"),
        locks=False,
    ),
    "bench": Command(
        "kgspark.bench.run", "Benchmarks of kgspark and its peers.", argument="NAME", night=False, group=_MEASURE
    ),
    "generate": Command(
        f"{_EXPERIMENTS}.generate",
        "Synthetic ratings of any size, in a new folder.",
        argument="OUT",
        night=False,
        group=_MEASURE,
    ),
}
