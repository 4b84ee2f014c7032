"""`parley token`: a token for development."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from cyclopts import Parameter

from infra.cli.development_token import checked_token
from infra.cli.options import DATA_DEFAULT, WORKSPACE_DEFAULT, DataOption, WorkspaceOption
from infra.local.tokens import TTL_S_DEFAULT
from shared.errors import BadRequest


def token(
    *,
    user: str,
    workspace: WorkspaceOption = WORKSPACE_DEFAULT,
    scope: Annotated[list[str] | None, Parameter(help="A scope, `import` for example; repeatable.")] = None,
    ttl: Annotated[timedelta, Parameter(help="Lifetime: `90m`, `1d` …")] = timedelta(seconds=TTL_S_DEFAULT),
    data: DataOption = DATA_DEFAULT,
) -> None:
    """Print a token for USER, signed with the development secret of the data directory."""
    if ttl < timedelta(seconds=1):
        raise BadRequest("--ttl must be a second at least: the token would have expired already")
    print(checked_token(data, user, workspace, scope or (), int(ttl.total_seconds())))
