"""The table of commands. A new command is a module with `run`, and a line here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kgspark.errors import ConfigError

_STAGES, _EXPERIMENTS = "kgspark.stages", "kgspark.experiments"
# A setting on the command line. Other words may have an equals sign, too: titles do.
_SETTING = re.compile(r"[a-z_]+(\.[^\s.=]+)*=")


@dataclass(frozen=True)
class Command:
    """One command.

    module    the module whose `run` does the work; it imports its engines, so it is imported last
    help      one line about the command
    sections  the sections of settings that it reads, for its --help; empty means all
    argument  its first argument: CONF, the file of a night, to call `run(night)`; else `run(argument, overrides, say)`
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
    asks: tuple[str, ...] = ()

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
    "nightly": Command(f"{_STAGES}.nightly", "The whole night, stage by stage."),
    "clean-ratings": Command(
        f"{_STAGES}.clean_ratings",
        "Source files to clean ratings, movies, users, tags, and a quarantine.",
        ("source", "clean"),
    ),
    "index-entities": Command(
        f"{_STAGES}.index_entities",
        "A contiguous index for every user, movie, genre and further kind.",
        ("relations",),
    ),
    "write-triples": Command(
        f"{_STAGES}.write_triples",
        "The knowledge graph as triple shards, split into train, valid and test.",
        ("relations", "split", "triples"),
    ),
    "train-embeddings": Command(
        f"{_STAGES}.train_embeddings", "Embeddings by tgraphx, and the vectors to rank with.", ("train",)
    ),
    "recommend": Command(
        f"{_STAGES}.recommend",
        "Every user's top-K unseen movies, and every movie's audience.",
        ("candidates", "recommend", "audiences"),
    ),
    "write-vectors": Command(
        f"{_STAGES}.write_vectors",
        "The vectors of users and movies as tables for a vector store.",
        ("vectors",),
    ),
    "publish": Command(f"{_STAGES}.publish", "Audit, then one atomic move into the warehouse.", ("publish", "keep")),
    "evaluate": Command(
        f"{_EXPERIMENTS}.evaluate",
        "Metrics of the model and of baselines on held-out likes.",
        ("evaluate",),
    ),
    "tune": Command(
        f"{_EXPERIMENTS}.tune",
        "Search for better settings on validation likes.",
        ("tune", "evaluate"),
    ),
    "show": Command(
        f"{_EXPERIMENTS}.show",
        "A user's history and list, beside each other.",
        ("lake", "run_date", "names"),
        locks=False,
        asks=("USER",),
    ),
    "explain": Command(
        f"{_EXPERIMENTS}.explain",
        "Why a user is recommended a movie: the nearest likes, shared facts, and shares of the score.",
        ("lake", "run_date", "names"),
        locks=False,
        asks=("USER", "[MOVIE]"),
    ),
    "similar": Command(
        f"{_EXPERIMENTS}.similar",
        "The movies that are most like a movie, given by its id or its title.",
        ("lake", "run_date", "names"),
        locks=False,
        asks=("MOVIE",),
    ),
    "nights": Command(
        f"{_EXPERIMENTS}.nights",
        "The nights of the lake: state, model, metrics, minutes, and disk space.",
        ("lake",),
        locks=False,
    ),
    "report": Command(
        f"{_EXPERIMENTS}.report",
        "The page of a night, report.html in its folder: figures, lists, graph, map, what changed.",
        ("report", "names"),
        locks=False,
    ),
    "rollback": Command(
        f"{_EXPERIMENTS}.rollback",
        "Make an earlier night current again, in all targets or in those that are named.",
        ("publish",),
        words=("run_date", "publish.targets"),
        locks=False,
    ),
    "contract": Command(
        f"{_EXPERIMENTS}.contract",
        "The published tables as an ODCS data contract and as dbt sources.",
        ("contract", "names"),
        locks=False,
    ),
    "bench": Command("kgspark.bench.run", "Benchmarks of kgspark and its peers.", argument="NAME"),
    "generate": Command(f"{_EXPERIMENTS}.generate", "Synthetic ratings of any size, in a new folder.", argument="OUT"),
}
