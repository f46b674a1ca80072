"""The same commands with as little else as Python allows: one protocol class, a task a job, nothing safe.

It reads and writes the bytes of Job::Async::Redis 0.004 (ten commands a job), with hiredis to pack and parse, all ready
commands in one write, and 64 pops in flight. No limits, no failures, no reconnection, no types but int.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import closed_loop
import hiredis

pack: Any = hiredis.pack_command
PENDING, PROCESSING = b"jobs::pending", b"jobs::processing"
POP = pack((b"BRPOPLPUSH", PENDING, PROCESSING, b"3"))


class Wire(asyncio.Protocol):
    def __init__(self, on_message: Callable[[bytes], object] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.reader = hiredis.Reader()
        self.callbacks: deque[Callable[[Any], object] | None] = deque()
        self.ready: list[bytes] = []
        self.on_message = on_message

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        self.reader.feed(data)
        while (reply := self.reader.gets()) is not False:
            if self.on_message is not None and type(reply) is list and reply[0] == b"message":
                self.on_message(reply[2])
                continue
            callback = self.callbacks.popleft()
            if callback is not None:
                callback(reply)

    def send(self, packed: bytes, callback: Callable[[Any], object] | None = None) -> None:
        if not self.ready:
            self.loop.call_soon(self.flush)
        self.ready.append(packed)
        self.callbacks.append(callback)

    def ask(self, *command: bytes) -> asyncio.Future[Any]:
        future = self.loop.create_future()
        self.send(pack(command), future.set_result)
        return future

    def flush(self) -> None:
        ready, self.ready = self.ready, []
        self.transport.write(b"".join(ready))


async def connect(port: int, on_message: Callable[[bytes], object] | None = None) -> Wire:
    loop = asyncio.get_running_loop()
    return (await loop.create_connection(lambda: Wire(on_message), "127.0.0.1", port))[1]


async def work(told: Any) -> None:
    loop = asyncio.get_running_loop()
    commands, popping = await connect(told.port), await connect(told.port)
    adds = told.kind == "ints"

    async def job(job_id: bytes) -> None:
        key = b"job::" + job_id
        asked = commands.ask(b"HGETALL", key)
        commands.send(pack((b"HMSET", key, b"_started", b"%.15g" % time.time())))
        items = iter(await asked)
        fields = dict(zip(items, items, strict=True))
        value = b"%d" % (int(fields[b"text_a"]) + int(fields[b"text_b"])) if adds else fields[b"text_payload"]
        done = b"%.15g" % time.time()
        commands.send(pack((b"HMSET", key, b"result", b"T" + value, b"_processed", done)))
        commands.send(pack((b"PUBLISH", b"client::" + fields[b"_reply_to"], job_id)))
        await commands.ask(b"LREM", PROCESSING, b"1", job_id)

    def popped(job_id: bytes | None) -> None:
        popping.send(POP, popped)
        if job_id is not None:
            loop.create_task(job(job_id))  # noqa: RUF006 - the floor keeps nothing that it does not need

    for _ in range(64):
        popping.send(POP, popped)
    closed_loop.ready()
    await asyncio.Event().wait()


async def submit(told: Any) -> None:
    loop = asyncio.get_running_loop()
    me = os.urandom(16).hex().encode()
    waiting: dict[bytes, asyncio.Future[None]] = {}
    commands = await connect(told.port)
    notices = await connect(told.port, lambda job_id: waiting.pop(job_id).set_result(None))
    await notices.ask(b"SUBSCRIBE", b"client::" + me)
    counter = iter(range(1 << 40))
    payload = b"x" * told.size

    async def send(*fields: bytes) -> bytes:
        job_id = b"%08x-0000-4000-8000-%012x" % (os.getpid(), next(counter))
        key = b"job::" + job_id
        waiting[job_id] = notice = loop.create_future()
        commands.send(pack((b"HMSET", key, b"_reply_to", me, b"_queued", b"%.15g" % time.time(), *fields)))
        commands.send(pack((b"LPUSH", PENDING, job_id)))
        await notice
        asked = commands.ask(b"HMGET", key, b"result")
        commands.send(pack((b"DEL", key)))
        result: bytes = (await asked)[0]
        return result[1:]

    async def add(number: int) -> None:
        closed_loop.check(int(await send(b"text_a", b"%d" % number, b"text_b", b"7")), number + 7)

    async def echo(number: int) -> None:
        del number
        closed_loop.check(await send(b"text_payload", payload), payload)

    await closed_loop.drive(add if told.kind == "ints" else echo, told)


if __name__ == "__main__":
    told = closed_loop.options()
    closed_loop.run(work(told) if told.role == "worker" else submit(told), told.loop)
