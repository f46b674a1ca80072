"""The operations of jobs in the Python peer: the table of :data:`driver.protocol.OPERATIONS`, in Python."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

__all__ = ["Failing", "names", "run_operation"]


class Failing(Exception):
    """The error of the operations ``fail`` and ``die``."""


def _bytes(value: Any) -> bytes:
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    if isinstance(value, bool):
        return b"1" if value else b""
    return str(value).encode()


def _text(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _number(value: Any) -> int | float:
    text = _bytes(value).decode()
    try:
        return int(text)
    except ValueError:
        return float(text)


def _add(data: Mapping[Any, Any]) -> int | float:
    return _number(data["first"]) + _number(data["second"])


def _keys(data: Mapping[Any, Any]) -> list[Any]:
    return sorted((key for key in data if key != "op" and not _bytes(key).startswith(b"_")), key=_bytes)


def _nest(data: Mapping[Any, Any]) -> Any:
    value: Any = "end"
    for _ in range(int(_number(data["depth"]))):
        value = [value]
    return value


def _fail(data: Mapping[Any, Any]) -> None:
    raise Failing(data.get("message", "failed"))


def _exit(data: Mapping[Any, Any]) -> None:
    os._exit(int(_number(data.get("code", 3))))


def _block(data: Mapping[Any, Any]) -> str:
    time.sleep(float(_number(data["seconds"])))
    return "blocked"


async def _sleep(data: Mapping[Any, Any]) -> Any:
    await asyncio.sleep(float(_number(data["seconds"])))
    return data.get("value", "slept")


async def _slow(data: Mapping[Any, Any]) -> str:
    await asyncio.sleep(float(_number(data["s"])))
    return f"slept {data['s']}"


def _rpc(data: Mapping[Any, Any]) -> str:
    """The public websocket backend's convention: JSON text in, JSON text out."""
    return json.dumps({"result": {"name": data["name"], "params": json.loads(_bytes(data["params"]))}})


class _Thing:
    """Of a class that no wire knows."""


_OPERATIONS: dict[str, Callable[[Mapping[Any, Any]], Any]] = {
    "echo": lambda data: data.get("value"),
    "reverse": lambda data: _text(_bytes(data.get("value", data.get("text")))[::-1]),
    "add": _add,
    "sleep": _sleep,
    "json": lambda data: json.loads(_bytes(data["value"])),
    "number": lambda data: _number(data["value"]),
    "true": lambda _data: True,
    "false": lambda _data: False,
    "undef": lambda _data: None,
    "empty": lambda _data: "",
    "nothing": lambda _data: None,
    "several": lambda _data: "one",
    "big": lambda data: str(data.get("char", "x")) * int(_number(data["size"])),
    "sha256": lambda data: hashlib.sha256(_bytes(data["value"])).hexdigest(),
    "length": lambda data: len(_bytes(data["value"])),
    "keys": _keys,
    "get": lambda data: data.get(data["name"]),
    "data": lambda data: {key: value for key, value in data.items() if key != "op"},
    "nest": _nest,
    "fail": _fail,
    "die": _fail,
    "exit": _exit,
    "wide": lambda _data: "☺",
    "latin1": lambda _data: b"\xe9",
    "block": _block,
    "object": lambda _data: _Thing(),
    # Operations of the first recordings.
    "slow": _slow,
    "aref": lambda _data: [1, "two", None, 3.5, "☺", "é", {"k": "v"}],
    "href": lambda _data: {"a": 1, "b": [1, 2], "é": "☺"},
}


def names() -> list[str]:
    """All operations."""
    return sorted(_OPERATIONS)


async def run_operation(data: Mapping[Any, Any]) -> Any:
    """Do the operation of ``data``; the job's result."""
    op = data.get("op")
    if op is None:
        return _rpc(data) if "name" in data and "params" in data else _keys(data)
    operation = _OPERATIONS.get(str(op))
    if operation is None:
        raise Failing(f"unknown op {op!r}")
    result = operation(data)
    return await result if isinstance(result, Awaitable) else result
