"""Settings of the contract."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from kgspark.config import IN_FILE, Settings, SqlName


class ContractSettings(Settings):
    """What `kgspark contract` says of the published tables, besides their columns and the checks of the audit."""

    out: Annotated[Path, IN_FILE] = Field(
        Path("contract"), description="folder of NAME.odcs.yaml and sources.yml, which are replaced"
    )
    name: SqlName = Field("kgspark", description="NAME: the id of the contract, and the name of the source in dbt")
    version: str = Field("1.0.0", description="version of the contract; raise it when names or checks change")
    status: Literal["proposed", "draft", "active", "deprecated", "retired"] = Field(
        "active", description="state of the contract"
    )
    owner: str | None = Field(None, description="the team that answers for the tables; null leaves it out")
    contact: str | None = Field(None, description="where readers ask: an address or a channel; null leaves it out")
    domain: str | None = Field(None, description="the business domain; null leaves it out")
    max_age: int = Field(48, ge=1, description="hours after the start of ds until the next night must be there")
