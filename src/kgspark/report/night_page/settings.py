"""Settings of the report of a night."""

from pydantic import Field, PositiveInt

from kgspark.config import Settings


class ReportSettings(Settings):
    """The page that a night writes at its end, `<lake>/runs/<run_date>/report.html`."""

    enabled: bool = Field(
        True,
        description="nightly writes the page; without the packages of the extra report it says so, and goes on",
    )
    users: PositiveInt = Field(
        300,
        le=2000,
        description="users whose lists are on the page, drawn by a hash of their id, so that tomorrow's are the same",
    )
    map_points: PositiveInt = Field(
        90_000, le=90_000, description="movies on the map and in the search: those with the most likes"
    )
