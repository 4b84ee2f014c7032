"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from infra.local.data_directory import DEFAULT, DataDirectory
from infra.local.tokens import TTL_S_DEFAULT, mint
from shared.ids import SEQ_MAX, user_id, workspace_id

DataOption = Annotated[Path, Parameter(name="--data", env_var="PARLEY_DATA", help="The data directory.")]
WorkspaceOption = Annotated[str, Parameter(name="--workspace", help="The tenant.")]

FROM_0 = validators.Number(gte=0, lte=SEQ_MAX)
FROM_1 = validators.Number(gte=1, lte=SEQ_MAX)

DATA_DEFAULT = DEFAULT
WORKSPACE_DEFAULT = "demo"


def data_directory(path: Path) -> DataDirectory:
    """The directory that `--data` names."""
    return DataDirectory(path)


def checked_token(
    data: Path, user: str, workspace: str, scopes: Sequence[str], ttl_s: int = TTL_S_DEFAULT
) -> str:
    """A token for development, signed with the secret of the data directory.

    Raises `InvalidId` for names that every edge would refuse, `Misconfigured` before the first start.
    """
    names = user_id(user), workspace_id(workspace)
    secret = data_directory(data).credentials().jwt
    return mint(secret, names[0], workspace=names[1], scopes=scopes, ttl_s=ttl_s)
