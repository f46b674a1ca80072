"""The replay peer: plays recorded Perl traffic against a live peer where no Perl is installed.

``python -m jobwire_conformance.peers.replay --dialect 0.004`` speaks the driver protocol like any peer. It
sends the recorded commands of a real Perl process (``conformance/golden/<dialect>``), with job
IDs, client IDs and times replaced, and nothing else. It can therefore play its recordings alone:
its answer to ``hello`` lists the cases (``recorded:<case>:<use_multi>``), and the runner asks for no others.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from jobwire_conformance.cases.places import GOLDEN
from jobwire_conformance.cases.templates import make_value
from jobwire_conformance.driver import protocol as driver
from jobwire_conformance.driver.values import RECURSION, decode_value, encode_value, same
from jobwire_conformance.record.resp import Decoder, pack
from jobwire_conformance.record.transcripts import Transcript, read_transcript
from jobwire_conformance.rules.facts import MAIN_DIALECT, traits_of

__all__ = ["GOLDEN", "Recording", "load_recordings", "main"]

_TIMES = {b"_queued", b"_started", b"_processed"}
Command = tuple[bytes, ...]


@dataclass
class Play:
    """One recorded job: the client's writes, the worker's reads and writes."""

    job_id: bytes
    submission: Command
    queue: bytes
    fields: dict[bytes, bytes] = field(default_factory=dict)
    started: Command | None = None
    completion: list[Command] = field(default_factory=list)


@dataclass
class Recording:
    """One transcript, taken apart into jobs."""

    case: str
    use_multi: bool
    prefix: str
    client_id: bytes
    submitted: list[Any]
    plays: list[Play]
    versions: dict[str, Any]


def _of(transcript: Transcript) -> Recording:
    header = transcript.header
    client_id = next(
        words[1].removeprefix(b"client::") for words in transcript.commands("client") if words[0] == b"SUBSCRIBE"
    )
    plays = [_play(transcript, words) for words in transcript.commands("client") if words[0] == b"HMSET"]
    return Recording(
        case=header.case,
        use_multi=header.use_multi,
        prefix=header.prefix,
        client_id=client_id,
        submitted=[make_value(data) for data in header.submitted],
        plays=plays,
        versions=header.client.get("libraries", {}),
    )


def _play(transcript: Transcript, submission: Command) -> Play:
    job_id = submission[1].removeprefix(b"job::")
    push = next(words for words in transcript.commands("client") if words[0] == b"LPUSH" and words[2] == job_id)
    play = Play(job_id, submission, push[1], fields=dict(zip(submission[2::2], submission[3::2], strict=True)))
    for words in transcript.commands("worker"):
        if job_id not in words and submission[1] not in words:
            continue
        if words[0] == b"HMSET" and b"result" not in words[2::2]:
            play.started = words
        elif words[0] in (b"HMSET", b"PUBLISH", b"LREM"):
            play.completion.append(words)
    return play


def load_recordings(dialect: str, directory: Path = GOLDEN) -> list[Recording]:
    """All recordings of a dialect in the mode that the replay speaks."""
    return [_of(read_transcript(path)) for path in sorted((directory / dialect).glob("reliable-*.jsonl"))]


class _Line:
    """One connection of the replay: raw commands out, frames in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = Decoder()
        self._frames: list[Any] = []

    @classmethod
    async def open(cls, url: str) -> _Line:
        parts = urlsplit(url)
        line = cls(*await asyncio.open_connection(parts.hostname, parts.port or 6379))
        if parts.password:
            await line.call((b"AUTH", parts.password.encode()))
        return line

    def send(self, *commands: Command) -> None:
        self._writer.write(b"".join(pack(words) for words in commands))

    async def read(self) -> Any:
        while not self._frames:
            chunk = await self._reader.read(65536)
            if not chunk:
                raise ConnectionResetError("Redis closed the connection")
            self._frames += [frame.value for frame in self._decoder.feed(chunk)]
        return self._frames.pop(0)

    async def call(self, words: Command) -> Any:
        self.send(words)
        return await self.read()

    def close(self) -> None:
        self._writer.close()


class Replay:
    """The peer."""

    def __init__(self, dialect: str) -> None:
        self.dialect = dialect
        self.traits = traits_of(dialect)
        self.recordings = load_recordings(dialect)
        self.start: driver.Start | None = None
        self._id = str(uuid.uuid4()).encode()
        self._lines: dict[str, _Line] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._waiting: dict[bytes, int] = {}
        self._jobs = 0

    def say(self, answer: driver.Answer) -> None:
        sys.stdout.buffer.write(driver.encode(answer))
        sys.stdout.buffer.flush()

    def about(self) -> driver.HelloAnswer:
        recorded = sorted({f"recorded:{item.case}:{int(item.use_multi)}" for item in self.recordings})
        return driver.HelloAnswer(
            driver=driver.DRIVER_VERSION,
            name="replay of recorded Perl traffic",
            version=self.dialect,
            language="Replay",
            runtime=f"{len(self.recordings)} recordings",
            libraries={str(name): str(value) for name, value in self.recordings[0].versions.items()},
            roles=["client", "worker"],
            modes=["reliable"],
            dialects=[self.dialect],
            codecs=["sereal"],
            behaviours=recorded,
        )

    async def handle(self, line: bytes) -> bool:
        try:
            request = driver.decode_request(line)
        except msgspec.ValidationError:
            self.say(driver.Unsupported(what="this message"))
            return True
        match request:
            case driver.Hello():
                self.say(self.about())
            case driver.Start():
                await self._start(request)
            case driver.Submit():
                await self._submit(request)
            case driver.Stop():
                await self._stop()
            case driver.Bye():
                return False
            case _:
                self.say(driver.Unsupported(what=type(request).__name__))
        return True

    async def _start(self, start: driver.Start) -> None:
        if start.mode != "reliable" or start.id is not None:
            self.say(driver.Unsupported(what=f"mode {start.mode}, or an ID of one's own"))
            return
        self.start = start
        self._lines["commands"] = await _Line.open(start.redis)
        second = self._lines["second"] = await _Line.open(start.redis)
        loop = asyncio.get_running_loop()
        if start.role == "client":
            await second.call((b"SUBSCRIBE", b"client::" + self._id))
            self._tasks.append(loop.create_task(self._listen(second)))
            self.say(driver.Ready(client_id=self._id.decode()))
        else:
            self._tasks.append(loop.create_task(self._work(second, start)))
            self.say(driver.Ready(worker_id=self._id.decode()))

    # --- client -------------------------------------------------------------------------------

    def _find(self, data: Any) -> tuple[Recording, Play] | None:
        for recording in self.recordings:
            if self.start is None or recording.use_multi is not self.start.use_multi:
                continue
            for submitted, play in zip(recording.submitted, recording.plays, strict=False):
                if same(submitted, data, typed=True):
                    return recording, play
        return None

    async def _submit(self, request: driver.Submit) -> None:
        found = self._find(decode_value(request.data))
        if found is None or self.start is None:
            self.say(driver.Unsupported(what="a submission that was not recorded", seq=request.seq))
            return
        recording, play = found
        job_id = str(uuid.uuid4()).encode()
        commands = [
            _replayed(play.submission, {play.job_id: job_id, recording.client_id: self._id}),
            (b"LPUSH", self._queue("pending"), job_id),
        ]
        self._jobs += 1
        self._waiting[job_id] = request.seq
        line = self._lines["commands"]
        if recording.use_multi:
            await line.call((b"MULTI",))
            commands.append((b"EXEC",))
        line.send(*commands)
        for _ in commands:
            await line.read()
        self.say(driver.Submitted(seq=request.seq, id=encode_value(job_id.decode())))

    def _queue(self, name: str) -> bytes:
        prefix = self.start.prefix if self.start is not None and not self.traits.bare_queues else ""
        return f"{prefix}::{name}".encode() if prefix else name.encode()

    async def _listen(self, line: _Line) -> None:
        fetching = await _Line.open(self.start.redis if self.start is not None else "")
        self._lines["fetch"] = fetching
        while True:
            message = await line.read()
            if message[0] != b"message":
                continue
            job_id = message[2]
            reply = await fetching.call((b"HMGET", b"job::" + job_id, b"result"))
            seq = self._waiting.pop(job_id, None)
            await fetching.call((b"DEL", b"job::" + job_id))
            if seq is not None:
                self.say(driver.Result(seq=seq, id=job_id.decode(), value=encode_value(self._read(reply[0]))))

    def _read(self, result: bytes | None) -> Any:
        """As Perl does: `J` is JSON, any other first letter is cut off (where the dialect has tags)."""
        if self.traits.untagged:
            return _text(result or b"")
        body = (result or b"")[1:]
        return json.loads(body) if (result or b"")[:1] == b"J" else _text(body)

    # --- worker -------------------------------------------------------------------------------

    async def _work(self, popping: _Line, start: driver.Start) -> None:
        commands = self._lines["commands"]
        pending, processing = self._queue("pending"), self._queue(start.processing_queue or "processing")
        while True:
            job_id = await popping.call((b"BRPOPLPUSH", pending, processing, b"1"))
            if job_id is None:
                continue
            flat = await commands.call((b"HGETALL", b"job::" + job_id))
            fields = dict(zip(flat[::2], flat[1::2], strict=True))
            self._jobs += 1
            self.say(driver.Job(id=encode_value(_text(job_id)), data=encode_value(dict(_parameters(fields)))))
            play = self._match(fields)
            if play is None:
                sys.stderr.write("a job that was not recorded: left alone\n")
                continue
            await self._complete(commands, play, job_id, fields, processing)

    def _match(self, fields: dict[bytes, bytes]) -> Play | None:
        wanted = dict(_parameters(fields))
        for recording in self.recordings:
            if self.start is None or recording.use_multi is not self.start.use_multi:
                continue
            for play in recording.plays:
                if same(dict(_parameters(play.fields)), wanted, typed=True):
                    return play
        return None

    async def _complete(
        self, line: _Line, play: Play, job_id: bytes, fields: dict[bytes, bytes], processing: bytes
    ) -> None:
        reply_to = fields.get(b"_reply_to", b"")
        recorded = play.fields.get(b"_reply_to", b"")
        exchange = {play.job_id: job_id, recorded: reply_to}
        commands = [_replayed(words, exchange) for words in play.completion]
        commands = [(words[0], processing, *words[2:]) if words[0] == b"LREM" else words for words in commands]
        if play.started is not None:
            await line.call(_replayed(play.started, exchange))
        if self.start is not None and (self.start.use_multi or self.traits.always_multi):
            await line.call((b"MULTI",))
            commands.append((b"EXEC",))
        line.send(*commands)
        for _ in commands:
            await line.read()

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for line in self._lines.values():
            line.close()
        self.say(driver.Stopped(jobs=self._jobs))


def _replayed(words: Command, exchange: dict[bytes, bytes]) -> Command:
    """The recorded command with IDs exchanged, and times that are now."""

    def swap(word: bytes) -> bytes:
        for old, new in exchange.items():
            if old and old in word:
                word = word.replace(old, new)
        return word

    if words[0] != b"HMSET":
        return tuple(swap(word) for word in words)
    flat: list[bytes] = []
    for name, value in zip(words[2::2], words[3::2], strict=True):
        flat += [name, (b"%.15g" % time.time()) if name in _TIMES else swap(value)]
    return (words[0], swap(words[1]), *flat)


def _text(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _parameters(fields: dict[bytes, bytes]) -> Iterator[tuple[str | bytes, Any]]:
    """The data that a worker's handler would get of these fields, meta fields left out."""
    from jobwire import sereal

    for name, value in fields.items():
        kind, sign, key = name.partition(b"_")
        if name.startswith(b"_") or name == b"result":
            continue
        if sign and kind == b"sereal":
            yield _text(key), decode_value(encode_value(sereal.loads(value)))
        elif sign and kind == b"json":
            yield _text(key), json.loads(value)
        elif sign and kind == b"text":
            yield _text(key), _text(value)
        else:
            yield _text(name), _text(value)


async def _serve(dialect: str) -> None:
    peer = Replay(dialect)
    reader = asyncio.StreamReader(limit=64 * 1024 * 1024)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        if not await peer.handle(line):
            break


def main(arguments: list[str] | None = None) -> int:
    """Serve until ``bye`` or the end of input."""
    parser = argparse.ArgumentParser(prog="python -m jobwire_conformance.peers.replay")
    parser.add_argument("--dialect", default=MAIN_DIALECT)
    sys.setrecursionlimit(max(sys.getrecursionlimit(), RECURSION))
    asyncio.run(_serve(parser.parse_args(arguments).dialect))
    return 0


if __name__ == "__main__":
    sys.exit(main())
