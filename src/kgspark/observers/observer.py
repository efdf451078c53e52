"""What an observer of a night is told, and by whom. An observer never changes the result of a night."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from kgspark.redaction import redact
from kgspark.runs import Outcome, Run, StageWork

_LOG = logging.getLogger("kgspark")


@dataclass(frozen=True)
class Ended:
    """The end of a command on a night.

    command   as on the command line: `nightly`, or a stage
    outcomes  of the stages that ended well, in order
    code      the exit code of the command
    error     the line of its error; empty if it ended well
    seconds   that the command took
    """

    command: str
    outcomes: Sequence[Outcome]
    code: int
    error: str
    seconds: float


class Observer:
    """The base of all observers: it ignores everything. `name` stands in the warning if it fails."""

    name = "observer"

    def night_began(self, run: Run, command: str) -> None:
        """A command begins to work on a night."""

    def stage_began(self, work: StageWork) -> None:
        """A stage begins, because its output is not current."""

    def stage_ended(self, work: StageWork, outcome: Outcome) -> None:
        """A stage has committed its tables, or they were current."""

    def stage_failed(self, work: StageWork, error: BaseException) -> None:
        """A stage that had begun has failed; its earlier tables are unchanged."""

    def night_ended(self, run: Run, ended: Ended) -> None:
        """A command ends, well or not."""


@dataclass
class Observers:
    """Tells all observers. One that fails is warned about in one line, and not told any more."""

    told: list[Observer] = field(default_factory=list)

    def each(self, tell: Callable[[Observer], None]) -> None:
        """Calls `tell` with every observer."""
        for observer in list(self.told):
            try:
                tell(observer)
            except Exception as error:  # of a package, of a server, or of a disk: the night goes on without it
                self.told.remove(observer)
                text = " ".join(str(error).split()) or type(error).__name__
                _LOG.warning(redact(f"{observer.name}: {text}; the night goes on, and it is told nothing more"))
