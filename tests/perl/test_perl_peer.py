"""Perl with Perl through the driver protocol: every stack that is here, and the promises of the peer itself."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import redis as redis_py

from jobwire_conformance.driver import protocol as driver
from jobwire_conformance.driver.values import Blessed, Chars, Ref
from tests.support.perl_peer import DIALECTS, PerlPeer, PerlPeerError

StartPerl = Callable[..., Coroutine[Any, Any, PerlPeer]]
RELEASES = tuple(stack for stack in DIALECTS if "+" not in stack)
TAGGED = tuple(stack for stack in DIALECTS if stack not in {"0.001", "0.002"})


def key(name: str, prefix: str, stack: str) -> str:
    return f"{prefix}::{name}" if prefix and stack != "0.001" else name


@pytest.mark.parametrize("stack", DIALECTS)
async def test_text_both_ways(perl: StartPerl, redis: redis_py.Redis, stack: str) -> None:
    worker = await perl("worker", dialect=stack, max_concurrent_jobs=4)
    client = await perl("client", dialect=stack)
    assert await client.call({"op": "reverse", "value": "hello"}) == "olleh"
    assert await client.call({"op": "echo", "value": "café ☺"}) == "café ☺"
    assert await client.call({"op": "echo", "value": b"caf\xe9"}) == b"caf\xe9"
    assert await client.call({"op": "echo", "value": ""}) == ""
    assert await client.call({"op": "add", "first": 2, "second": 40}) == "42"
    assert [job.data["op"] for job in worker.jobs] == ["reverse", "echo", "echo", "echo", "add"]
    assert worker.jobs[1].data == {"op": "echo", "value": "café ☺"}
    assert worker.jobs[0].meta["_reply_to"] == client.ready.client_id
    assert (await client.stop()).jobs == 5
    assert (await worker.stop()).jobs == 5
    assert redis.llen(key("processing", "jobs", stack)) == 0
    assert redis.keys("job::*") == []


@pytest.mark.parametrize("stack", TAGGED)
async def test_containers_both_ways(perl: StartPerl, stack: str) -> None:
    worker = await perl("worker", dialect=stack)
    client = await perl("client", dialect=stack)
    value: dict[str, Any] = {"k": "v", "n": None, "list": [1, "1", 0.5, 2**64 - 1, -(2**63), True], "☺": {"é": []}}
    # Results travel as JSON: Perl's own booleans lose their kind, and UTF-8 bytes count as Latin-1 characters.
    assert await client.call({"op": "echo", "value": {"a": [1, "1", 0.5, 2**64 - 1, None, {}]}}) == {
        "a": [1, "1", 0.5, 2**64 - 1, None, {}]
    }
    await client.call({"op": "length", "other": value})
    assert worker.jobs[1].data["other"] == value
    assert worker.jobs[1].data["other"]["list"][5] is True
    nested: Any = "end"
    for _ in range(100):
        nested = [nested]
    assert await client.call({"op": "nest", "depth": 100}) == nested


async def test_what_only_sereal_can_say(perl: StartPerl) -> None:
    worker = await perl("worker")
    client = await perl("client")
    value = [Ref(5), Ref([1]), Blessed("Some::Class", {"a": 1}), Blessed("Other", Ref("x")), b"\xff\x00", 1.0e300]
    await client.call({"op": "length", "value": "x", "other": value})
    assert worker.jobs[0].data["other"] == value
    await client.call({"op": "length", "value": "x", "other": {"$key": 1, "": 2}})
    assert worker.jobs[1].data["other"] == {"$key": 1, "": 2}
    # A decoded string arrives as one (STR_UTF8 in Sereal), and as its Latin-1 bytes at the top.
    await client.call({"op": "length", "value": Chars("é"), "other": [Chars("é"), Chars("☺")]})
    assert worker.jobs[2].data == {"op": "length", "value": b"\xe9", "other": ["é", "☺"]}


@pytest.mark.parametrize("stack", RELEASES)
@pytest.mark.parametrize("use_multi", [False, True])
async def test_a_hundred_jobs_at_once(perl: StartPerl, redis: redis_py.Redis, stack: str, use_multi: bool) -> None:
    # master's worker stalls under use_multi after as many jobs as it has slots; 0.001's worker always uses MULTI.
    worker_multi = use_multi and stack not in {"0.001", "master"}
    worker = await perl("worker", dialect=stack, max_concurrent_jobs=8, use_multi=worker_multi)
    client = await perl("client", dialect=stack, use_multi=use_multi)
    sums = await asyncio.gather(*(client.call({"op": "add", "first": n, "second": 1}) for n in range(100)))
    assert sums == [str(n + 1) for n in range(100)]
    await worker.stop()
    assert redis.llen(key("processing", "jobs", stack)) == 0


@pytest.mark.parametrize("prefix", ["jobs", "own", "", "0"])
async def test_prefix(perl: StartPerl, redis: redis_py.Redis, prefix: str) -> None:
    client = await perl("client", prefix=prefix)
    submission = client.submit({"op": "echo", "value": "x"})
    job_id = await submission.job_id()
    assert redis.lrange(key("pending", prefix, "0.004"), 0, -1) == [str(job_id).encode()]
    await perl("worker", prefix=prefix)
    assert await submission.result() == "x"


@pytest.mark.parametrize(
    "mixed", [("0.003", "0.004"), ("0.004", "master"), ("master", "0.003"), ("0.004", "0.004+nar5")]
)
async def test_releases_that_understand_each_other(perl: StartPerl, mixed: tuple[str, str]) -> None:
    await perl("worker", dialect=mixed[0])
    client = await perl("client", dialect=mixed[1])
    assert await client.call({"op": "reverse", "value": "abc"}) == "cba"
    assert await client.call({"op": "json", "value": '{"a":[1,true]}'}) == {"a": [1, True]}


async def test_a_0_004_client_cuts_the_result_of_a_0_002_worker(perl: StartPerl) -> None:
    await perl("worker", dialect="0.002")
    client = await perl("client", dialect="0.004")
    assert await client.call({"op": "reverse", "value": "abc"}) == "ba"


async def test_ids_and_queues_of_ones_own(perl: StartPerl, redis: redis_py.Redis) -> None:
    client = await perl("client", id="my client")
    assert client.ready.client_id == "my client"
    assert await client.submit({}, id="an ID with\r\n").job_id() == "an ID with\r\n"
    assert await client.submit({}, id=b"\xff").job_id() == b"\xff"
    await client.submit({}, queue="other", id="third").job_id()
    assert redis.lrange("jobs::pending", 0, -1) == [b"\xff", b"an ID with\r\n"]
    assert redis.lrange("jobs::other", 0, -1) == [b"third"]
    assert redis.hget("job::third", "_reply_to") != b"my client"


async def test_results_of_every_kind(perl: StartPerl) -> None:
    await perl("worker")
    client = await perl("client")
    expected: dict[str, Any] = {
        "true": "1",
        "false": "",
        "undef": "",
        "empty": "",
        "nothing": "",
        "several": "one",
        "latin1": b"\xe9",
        "number": "0.1",
    }
    for op, result in expected.items():
        assert await client.call({"op": op, "value": "0.10"}) == result, op
    assert await client.call({"op": "big", "size": 10, "char": "ab"}) == "ab" * 10
    assert len(await client.call({"op": "big", "size": 8_000_000})) == 8_000_000
    assert await client.call({"op": "sha256", "value": b"\x00\xff"}) == (
        "06eb7d6a69ee19e5fbdf749018d3d2abfa04bcbd1365db312eb86dc7169389b8"
    )
    assert await client.call({"op": "keys", "b": 1, "a": 2}) == ["a", "b"]
    assert await client.call({"b": 1, "a": 2}) == ["a", "b"]
    assert json.loads(await client.call({"name": "ping", "params": '{"x":[1]}'})) == {
        "result": {"name": "ping", "params": {"x": [1]}}
    }


@pytest.mark.parametrize(("stack", "size"), [("0.001", 20), ("0.003", 8), ("0.004", 8), ("0.004+nar5", 15)])
async def test_long_strings(perl: StartPerl, stack: str, size: int) -> None:
    await perl("worker", dialect=stack)
    client = await perl("client", dialect=stack)
    length = size * 1_000_000
    assert len(await client.call({"op": "big", "size": length})) == length
    assert await client.call({"op": "length", "value": "x" * length}) == str(length)


@pytest.mark.parametrize(("stack", "size"), [("0.004", 12), ("0.004+nar5", 20)])
async def test_net_async_redis_never_reads_longer_strings(perl: StartPerl, stack: str, size: int) -> None:
    # It stops reading when 8 MiB (2.x; 16 MiB from 3.0 on) wait in its buffer, and takes a string out of the buffer
    # only when it is whole.
    await perl("worker", dialect=stack)
    submission = (await perl("client", dialect=stack)).submit({"op": "big", "size": size * 1_000_000})
    with pytest.raises(TimeoutError):
        await submission.result(within=2)


async def test_a_failed_job_tells_nobody_and_keeps_its_slot(perl: StartPerl, redis: redis_py.Redis) -> None:
    worker = await perl("worker", max_concurrent_jobs=2)
    client = await perl("client")
    failed = client.submit({"op": "fail", "message": "no"})
    assert await client.call({"op": "echo", "value": "x"}) == "x"
    with pytest.raises(TimeoutError):
        await failed.result(within=0.5)
    assert redis.lrange("jobs::processing", 0, -1) == [str(await failed.job_id()).encode()]
    assert (await worker.stop()).jobs == 2


async def test_after_a_dying_handler_no_job_reaches_the_next(perl: StartPerl) -> None:
    worker = await perl("worker", max_concurrent_jobs=4)
    client = await perl("client")
    client.submit({"op": "die", "message": "ouch"})
    await worker.taken(1)
    later = client.submit({"op": "echo", "value": "x"})
    with pytest.raises(TimeoutError):
        await later.result(within=1)
    assert len(worker.jobs) == 1


async def test_exit_ends_the_worker(perl: StartPerl) -> None:
    worker = await perl("worker")
    client = await perl("client")
    client.submit({"op": "exit", "code": 7})
    assert await worker.exited() == 7
    with pytest.raises(PerlPeerError, match="ended before"):
        await worker.taken(2)


async def test_stop_lets_running_jobs_end(perl: StartPerl, redis: redis_py.Redis) -> None:
    worker = await perl("worker", max_concurrent_jobs=2)
    client = await perl("client")
    slow = client.submit({"op": "sleep", "seconds": 0.7, "value": "done"})
    await worker.taken(1)
    assert (await worker.stop()).jobs == 1
    assert await slow.result() == "done"
    # It is gone from the server: what is pushed now stays.
    client.submit({})
    await asyncio.sleep(0.3)
    assert redis.llen("jobs::pending") == 1
    assert redis.llen("jobs::processing") == 0


@pytest.mark.parametrize("ending", ["SIGTERM", "end of input"])
@pytest.mark.parametrize("role", ["client", "worker"])
async def test_endings_with_status_0(perl: StartPerl, role: str, ending: str) -> None:
    peer = await perl(role)
    assert peer.process.stdin is not None
    if ending == "SIGTERM":
        peer.process.send_signal(signal.SIGTERM)
    else:
        peer.process.stdin.close()
    assert await peer.exited(within=5) == 0
    assert peer.stderr == ""


async def test_sigterm_drains(perl: StartPerl) -> None:
    worker = await perl("worker")
    client = await perl("client")
    slow = client.submit({"op": "sleep", "seconds": 0.7})
    await worker.taken(1)
    worker.process.send_signal(signal.SIGTERM)
    assert await slow.result() == "slept"
    assert await worker.exited(within=5) == 0


async def test_cancel(perl: StartPerl) -> None:
    client = await perl("client")
    submission = client.submit({"op": "echo"})
    await submission.job_id()
    client.send(driver.Cancel(seq=submission.seq))
    with pytest.raises(PerlPeerError, match="cancelled"):
        await submission.result()


async def test_hello_says_what_is_loaded(require_perl: Callable[[str], None]) -> None:
    require_perl("0.004")
    async with await PerlPeer.launch() as peer:
        assert peer.hello.driver == driver.DRIVER_VERSION
        assert peer.hello.language == "Perl"
        assert peer.hello.dialects == ["0.004"]
        assert {"reliable", "recoverable", "simple"} == set(peer.hello.modes)
        assert peer.hello.libraries["Job::Async::Redis"] == "0.004"
        assert {"Net::Async::Redis", "Ryu", "Sereal::Encoder"} < peer.hello.libraries.keys()


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b'{"type":"conformance-nonsense","seq":9}', driver.Unsupported(what="message conformance-nonsense", seq=9)),
        (b'{"type":"submit","seq":1,"data":{}}', driver.Unsupported(what="submit without a client", seq=1)),
        (b'{"type":"start","role":"king","redis":"redis://127.0.0.1"}', driver.Unsupported(what="role")),
        (
            b'{"type":"start","role":"client","redis":"redis://127.0.0.1","dialect":"0.001"}',
            driver.Unsupported(what="dialect 0.001 (this is 0.004)"),
        ),
        (
            b'{"type":"start","role":"client","redis":"redis://127.0.0.1/3"}',
            driver.Unsupported(what="a database number in the URL"),
        ),
        (
            b'{"type":"start","role":"client","redis":"redis://127.0.0.1","codec":"json"}',
            driver.Unsupported(what="codec json"),
        ),
        (
            b'{"type":"start","role":"client","redis":"redis://127.0.0.1","options":{"reconnect_delay":1}}',
            driver.Unsupported(what="client option reconnect_delay in dialect 0.004"),
        ),
        (
            b'{"type":"start","role":"worker","redis":"redis://127.0.0.1","queues":["a","b"]}',
            driver.Unsupported(what="worker option pending_queues in dialect 0.004"),
        ),
        (b"[1]", "not a JSON object"),
        (b"{", "not a JSON object"),
    ],
)
async def test_what_it_cannot_do_it_says(
    require_perl: Callable[[str], None], line: bytes, answer: driver.Unsupported | str
) -> None:
    require_perl("0.004")
    async with await PerlPeer.launch() as peer:
        peer.send_line(line + b"\n")
        await peer.wait_for(lambda: len(peer.answers) == 2, within=10, what="answered")
        said = peer.answers[1]
        if isinstance(answer, str):
            assert isinstance(said, driver.Error)
            assert said.message.startswith(answer)
        else:
            assert said == answer


async def test_no_server_is_an_error_with_the_reason(require_perl: Callable[[str], None]) -> None:
    require_perl("0.004")
    with pytest.raises(PerlPeerError, match="refused"):
        await PerlPeer.start("worker", redis="redis://127.0.0.1:1")


async def test_a_peer_that_dies_says_why(perl: StartPerl) -> None:
    client = await perl("client")
    submission = client.submit({"op": "echo", "value": Chars("☺")})  # a wide character kills the Perl client
    with pytest.raises(PerlPeerError, match="Wide character"):
        await submission.result()
    assert await client.exited() != 0
