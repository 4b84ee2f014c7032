"""Records: everything that services say to one another survives JSON, and later versions may add fields."""

from __future__ import annotations

import inspect

import pytest
from pydantic import BaseModel, ValidationError

from shared import records, sql_records
from shared.channel import ChannelState
from shared.ids import UserId

STATE = ChannelState("private", "tea", UserId("a"), members={UserId("a"): "admin"}, messages=3, pins=(1, 2))
VALUES: dict[str, object] = {
    "seq": 7, "stream_seq": 99, "state": STATE, "channel": "c", "workspace": "w", "member": True,
    "kind": "public", "name": "tea", "topic": "", "archived": False, "members": 3, "messages": 2, "user": "a",
    "applied": 5, "at_us": 1, "body": "{}", "events": [{"seq": 1, "stream_seq": 2, "at_us": 3, "body": "{}"}],
    "heads": [{"workspace": "w", "channel": "c", "seq": 1, "stream_seq": 1, "state": STATE}], "more": True,
    "ids": [["a", "i"]], "found": [None, {"seq": 1, "stream_seq": 2, "at_us": 3, "fingerprint": "f"}],
    "fingerprint": "f", "upto": 4, "partition": 1, "watermark": 9, "segments": 1, "manifest": 2,
    "greatest": "i", "channels": ["c"], "query": "select 1", "format": "csv", "at": "sql-1", "piece": 3,
    "error": "unavailable", "message": "later", "epoch": "e1", "run": "r1", "instance": "i1", "searchable": 4,
}  # fmt: skip
MODELS = [
    model
    for module in (records, sql_records)
    for name, model in inspect.getmembers(module, inspect.isclass)
    if issubclass(model, BaseModel) and model.__module__ == module.__name__ and not name.startswith("_")
]


def sample(model: type[BaseModel]) -> BaseModel:
    """A record with a value in each field that it needs."""
    return model.model_validate({n: VALUES[n] for n, f in model.model_fields.items() if f.is_required()})


@pytest.mark.parametrize("model", MODELS)
def test_a_record_survives_json(model: type[BaseModel]) -> None:
    """Written and read back it is the same record."""
    record = sample(model)
    assert model.model_validate_json(record.model_dump_json()) == record


@pytest.mark.parametrize("model", MODELS)
def test_a_record_ignores_later_fields(model: type[BaseModel]) -> None:
    """A newer service may say more without breaking an older one."""
    record = sample(model)
    more = record.model_dump(mode="json") | {"added_later": 1}
    assert model.model_validate(more) == record


@pytest.mark.parametrize("model", MODELS)
def test_a_record_misses_nothing(model: type[BaseModel]) -> None:
    """A record without a field that it needs is refused where it enters."""
    whole = sample(model).model_dump(mode="json")
    for name, field in model.model_fields.items():
        if field.is_required():
            with pytest.raises(ValidationError):
                model.model_validate({key: value for key, value in whole.items() if key != name})


def test_every_model_is_described() -> None:
    """Each record says where it is used."""
    assert all(model.__doc__ for model in MODELS)
