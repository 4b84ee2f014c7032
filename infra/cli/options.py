"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from infra.local.data_directory import DEFAULT, DataDirectory
from shared.ids import SEQ_MAX

DataOption = Annotated[Path, Parameter(name="--data", env_var="PARLEY_DATA", help="The data directory.")]
WorkspaceOption = Annotated[str, Parameter(name="--workspace", help="The tenant.")]

FROM_0 = validators.Number(gte=0, lte=SEQ_MAX)
FROM_1 = validators.Number(gte=1, lte=SEQ_MAX)

DATA_DEFAULT = DEFAULT
WORKSPACE_DEFAULT = "demo"


def data_directory(path: Path) -> DataDirectory:
    """The directory that `--data` names."""
    return DataDirectory(path)
