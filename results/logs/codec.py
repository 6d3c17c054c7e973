"""What was read of a log as bytes, and back, exactly: for the cache and between processes.

Plain JSON with marks for what JSON lacks, compressed. To read it builds objects of the classes
named here alone, and calls nothing else: a foreign file may hold wrong numbers, but runs no code.
"""

import base64
import json
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from inspect_ai.log import EvalLog
from pydantic import BaseModel

from vlmguard.guard.cards import Measure, View
from vlmguard.guard.redaction import redact
from vlmguard.guard.shards import Shard
from vlmguard.results.logs.answers import LeftOut
from vlmguard.results.logs.checks import Touched
from vlmguard.results.logs.conditions import Column, Judged
from vlmguard.results.logs.declared import Declared
from vlmguard.results.logs.part import Part
from vlmguard.results.logs.run import Run
from vlmguard.results.logs.timing import Pace

__all__ = ["UNDECODABLE", "NotStorable", "packed", "unpacked"]

UNDECODABLE: Final = (
    *(ValueError, KeyError, TypeError, IndexError, AttributeError),
    *(RecursionError, OverflowError, zlib.error),
)
"""What reading damaged or foreign bytes raises."""

_DATA: Final = {
    each.__name__: each for each in (Run, Column, Declared, Judged, Pace, Part, Shard, Touched)
}
_MODELS: Final[Mapping[str, type[BaseModel]]] = {
    each.__name__: each for each in (EvalLog, Measure, View)
}
_SETS: Final[Mapping[str, Callable[[list[Any]], Any]]] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
}
_NUMBERS: Final = ("bool", "int64", "float64")
_KIND: Final = "="
"""The key of a mark; no object without it is one of ours."""


class NotStorable(Exception):
    """It holds what has no exact form as bytes, or a secret."""


def packed(found: list[Run] | LeftOut) -> bytes:
    """What reading a log gave, as bytes.

    Raises:
        NotStorable: It has no exact form, or holds a secret of the log's header.
    """
    try:
        if isinstance(found, LeftOut):
            content: Any = {
                "reason": str(found),
                "unfinished": _plain(found.unfinished),
                "created": found.created,
            }
        else:
            content = {"runs": _plain(found)}
        written = json.dumps(content, ensure_ascii=True)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        # Such as an int of thousands of digits, or a set of what has no order.
        raise NotStorable(str(error)) from error
    return zlib.compress(written.encode(), 1)


def unpacked(content: bytes) -> list[Run] | LeftOut:
    """What `packed` was given; damaged bytes raise one of `UNDECODABLE`."""
    read = json.loads(zlib.decompress(content))
    if "reason" in read:
        return LeftOut(read["reason"], _object(read["unfinished"]), read["created"])
    runs = _object(read["runs"])
    if not (isinstance(runs, list) and all(isinstance(run, Run) for run in runs)):
        raise ValueError("it holds no runs")
    return runs


def _plain(value: Any) -> Any:
    if value is None or type(value) in (str, int, float, bool):
        return value
    if type(value) is list:
        return [_plain(each) for each in value]
    if type(value) is dict:
        if all(type(key) is str for key in value):
            return {_KIND: "dict", "of": {key: _plain(each) for key, each in value.items()}}
        return {_KIND: "pairs", "of": [[_plain(key), _plain(each)] for key, each in value.items()]}
    if type(value) is Counter:
        return {_KIND: "counter", "of": [[_plain(key), each] for key, each in value.items()]}
    kind = type(value).__name__
    if kind in _SETS:
        items = value if kind == "tuple" else sorted(value)
        return {_KIND: kind, "of": [_plain(each) for each in items]}
    if type(value) is pd.DataFrame:
        return {_KIND: "frame", **_frame(value)}
    if _DATA.get(kind) is type(value) and is_dataclass(value):
        parts = {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
        return {_KIND: kind, "of": parts}
    if isinstance(value, BaseModel) and _MODELS.get(kind) is type(value):
        held = value.model_dump(mode="json", exclude_unset=kind != "EvalLog")
        if redact(held) != held:
            raise NotStorable("it holds a secret")
        return {_KIND: kind, "of": held}
    if isinstance(value, Mapping):
        return _plain(dict(value))
    raise NotStorable(f"it holds a {kind}")


def _object(value: Any) -> Any:
    if isinstance(value, list):
        return [_object(each) for each in value]
    if not isinstance(value, dict):
        return value
    kind, of = value[_KIND], value["of"]
    if kind == "dict":
        return {key: _object(each) for key, each in of.items()}
    if kind == "pairs":
        return {_object(key): _object(each) for key, each in of}
    if kind == "counter":
        return Counter({_object(key): each for key, each in of})
    if kind in _SETS:
        return _SETS[kind]([_object(each) for each in of])
    if kind == "frame":
        return _frame_of(of, value["rows"])
    if kind in _MODELS:
        return _MODELS[kind].model_validate(of)
    return _DATA[kind](**{name: _object(each) for name, each in of.items()})


def _frame(frame: pd.DataFrame) -> dict[str, Any]:
    if not (
        isinstance(frame.index, pd.RangeIndex) and frame.index.equals(pd.RangeIndex(len(frame)))
    ):
        raise NotStorable("it holds a table with an index")
    columns = [[str(name), str(frame[name].dtype), _column(frame[name])] for name in frame]
    return {"of": columns, "rows": len(frame)}


def _column(column: "pd.Series[Any]") -> Any:
    kind = str(column.dtype)
    if kind in _NUMBERS:
        return base64.b64encode(column.to_numpy().tobytes()).decode()
    if kind not in ("object", "str"):
        raise NotStorable(f"it holds a column of {kind}")
    # Few values of many rows differ, and equal texts then share their memory.
    known: dict[Any, int] = {}
    distinct: list[Any] = []
    places = np.empty(len(column), dtype="<i4")
    for row, each in enumerate(column.to_numpy(dtype=object)):
        # 1, 1.0 and True are equal, and a NaN is not: as text they are what they are.
        key = each if type(each) is str else (json.dumps(_plain(_native(each))),)
        if key not in known:
            known[key] = len(distinct)
            distinct.append(_plain(_native(each)))
        places[row] = known[key]
    return {"values": distinct, "places": base64.b64encode(places.tobytes()).decode()}


def _native(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _frame_of(columns: list[Any], rows: int) -> pd.DataFrame:
    made: dict[str, Any] = {}
    for name, kind, held in columns:
        if kind in _NUMBERS:
            made[name] = np.frombuffer(base64.b64decode(held), dtype=kind).copy()
            continue
        distinct = np.empty(len(held["values"]), dtype=object)
        for place, each in enumerate(held["values"]):
            distinct[place] = _object(each)
        places = np.frombuffer(base64.b64decode(held["places"]), dtype="<i4")
        if len(places) != rows or (rows and places.min() < 0):
            raise ValueError(f"{name}: {len(places)} of {rows} rows")
        # Only what differs is made a text of pandas' own.
        values = pd.Series(distinct, dtype=kind).array.take(places)
        made[name] = pd.Series(values, dtype=kind)
    return pd.DataFrame(made, index=pd.RangeIndex(rows))
