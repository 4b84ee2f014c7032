"""Reading what is asked of the archiver: a model, or an error that says what is wrong with it."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from shared.errors import BadRequest

M = TypeVar("M", bound=BaseModel)


def parsed(model: type[M], body: bytes) -> M:
    """The request in a body. Raises `BadRequest`."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise BadRequest(f"not a {model.__name__}: {error.errors()[0]['msg']}") from error
