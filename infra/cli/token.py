"""`parley token`: a token for development."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from cyclopts import Parameter

from infra.cli.options import DATA_DEFAULT, WORKSPACE_DEFAULT, DataOption, WorkspaceOption, data_directory
from infra.local.tokens import TTL_S_DEFAULT, mint


def token(
    *,
    user: str,
    workspace: WorkspaceOption = WORKSPACE_DEFAULT,
    scope: Annotated[list[str] | None, Parameter(help="A scope, `import` for example; repeatable.")] = None,
    ttl: Annotated[timedelta, Parameter(help="Lifetime: `90m`, `1d` …")] = timedelta(seconds=TTL_S_DEFAULT),
    data: DataOption = DATA_DEFAULT,
) -> None:
    """Print a token for USER, signed with the development secret of the data directory."""
    secret = data_directory(data).credentials().jwt
    print(mint(secret, user, workspace=workspace, scopes=scope or (), ttl_s=int(ttl.total_seconds())))
