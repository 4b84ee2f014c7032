"""JSON schemas of pydantic models as the components of one document."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Literal, TypeAlias

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

Json: TypeAlias = dict[str, object]
"""A JSON object of a document."""

REFERENCE = "#/components/schemas/{model}"


def component_schemas(
    *, read: Sequence[type[BaseModel]] = (), written: Sequence[type[BaseModel]] = ()
) -> dict[str, Json]:
    """The schemas by model name, with those that they refer to: as they are read, as they are written."""
    inputs: list[tuple[type[BaseModel], Literal["validation"]]] = [(model, "validation") for model in read]
    outputs: list[tuple[type[BaseModel], Literal["serialization"]]] = [
        (model, "serialization") for model in written
    ]
    _, found = models_json_schema([*inputs, *outputs], ref_template=REFERENCE)
    schemas: dict[str, Json] = found["$defs"]
    missing = {model.__name__ for model in (*read, *written)} - schemas.keys()
    assert not missing, f"two models share a name with {missing}"
    return schemas


def summary(documented: object) -> str:
    """The first sentence of what a docstring says."""
    text = " ".join((inspect.getdoc(documented) or "").split())
    return text.partition(". ")[0].rstrip(".") + "."
