"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from infra.local.data_directory import DEFAULT, DataDirectory

DataOption = Annotated[Path, Parameter(name="--data", env_var="PARLEY_DATA", help="The data directory.")]
WorkspaceOption = Annotated[str, Parameter(name="--workspace", help="The tenant.")]

DATA_DEFAULT = DEFAULT
WORKSPACE_DEFAULT = "demo"


def data_directory(path: Path) -> DataDirectory:
    """The directory that `--data` names."""
    return DataDirectory(path)
