"""Who asks, and what their token lets them do."""

from __future__ import annotations

import pytest

from edge.core.principal import Principal
from shared.ids import UserId, WorkspaceId


@pytest.mark.parametrize(
    ("scopes", "may"), [(set(), False), ({"import"}, True), ({"read", "import"}, True), ({"imports"}, False)]
)
def test_import_needs_its_scope(scopes: set[str], may: bool) -> None:
    """Exactly the scope `import` lets a token record for others."""
    assert Principal(UserId("ann"), WorkspaceId("w"), frozenset(scopes)).may_import is may


@pytest.mark.parametrize(
    ("scopes", "may"), [(set(), False), ({"erase"}, True), ({"import"}, False), ({"erased"}, False)]
)
def test_erasing_needs_its_scope(scopes: set[str], may: bool) -> None:
    """Exactly the scope `erase` lets a token take texts out."""
    assert Principal(UserId("ann"), WorkspaceId("w"), frozenset(scopes)).may_erase is may


def test_nothing_is_allowed_by_default() -> None:
    """A token without scopes is an ordinary user's, and one without an end has none."""
    ordinary = Principal(UserId("ann"), WorkspaceId("w"))
    assert not ordinary.may_import
    assert not ordinary.may_erase
    assert ordinary.expires_s is None
