"""The public websocket backend's convention: name and params in, one JSON text out."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator

import msgspec
import pytest
from hypothesis import given

import jobwire
from jobwire import rpc
from jobwire.testing.strategies import json_values
from tests.support.perl_peer import environment, missing


class Args(msgspec.Struct):
    text: str
    times: int = 1


class PingParams(msgspec.Struct):
    args: Args


@dataclasses.dataclass
class Pong:
    pong: str


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[jobwire.Client]:
    worker = jobwire.Worker(redis_url, max_concurrent_jobs=4, job_poll_interval=0.2)
    server = rpc.Server(worker)

    @server.method("ping")
    async def ping(params: PingParams) -> Pong:
        return Pong(params.args.text * params.args.times)

    @server.method("blocking")
    def blocking(params: dict[str, int]) -> int:
        return params["a"] + params["b"]

    @server.method("job")
    async def job(job: jobwire.Job) -> object:
        assert jobwire.current_job().id == job.id
        return job.data

    @server.method("refuse")
    async def refuse(params: dict[str, object]) -> None:
        raise rpc.RpcError("InsufficientBalance", "Your balance is too low.", {"missing": 5})

    @server.method("break")
    async def break_(params: dict[str, object]) -> None:
        raise KeyError("secret of the house")

    @server.method("unsayable")
    async def unsayable(params: dict[str, object]) -> object:
        return object()

    @server.method("unsayable details")
    async def unsayable_details(params: dict[str, object]) -> object:
        raise rpc.RpcError("Odd", "odd", object())

    @server.method("slow")
    async def slow(params: dict[str, object]) -> object:
        await asyncio.sleep(60)
        return None

    async with worker, jobwire.Client(redis_url, timeout=20) as client:
        yield client
        await worker.stop(grace=0)


async def test_a_call(client: jobwire.Client) -> None:
    assert await rpc.call(client, "ping", {"args": {"text": "ab", "times": "2"}}) == {"pong": "abab"}


async def test_typed_both_ways(client: jobwire.Client) -> None:
    assert await rpc.call(client, "ping", PingParams(Args("é")), result_type=Pong) == Pong("é")


async def test_plain_functions_run_in_a_thread(client: jobwire.Client) -> None:
    assert await rpc.call(client, "blocking", {"a": 1, "b": 2}) == 3


async def test_a_job_has_the_params_as_data(client: jobwire.Client) -> None:
    assert await rpc.call(client, "job", {"x": [1, None]}) == {"x": [1, None]}
    assert await rpc.call(client, "job") == {}


async def test_what_the_proxy_reads_of_a_success(client: jobwire.Client) -> None:
    reply = await client.submit({"name": "ping", "params": '{"args":{"text":"x"}}'})
    assert json.loads(reply) == {"result": {"pong": "x"}}


async def test_what_the_proxy_reads_of_an_error(client: jobwire.Client) -> None:
    reply = json.loads(await client.submit({"name": "refuse", "params": "{}"}))
    seen_by_the_proxy = reply["result"]["error"]
    assert seen_by_the_proxy == {
        "code": "InsufficientBalance",
        "message_to_client": "Your balance is too low.",
        "details": {"missing": 5},
    }
    assert reply["error"] == {
        "code": "InsufficientBalance",
        "message": "Your balance is too low.",
        "details": {"missing": 5},
    }


async def test_the_method_s_own_error(client: jobwire.Client) -> None:
    with pytest.raises(rpc.RpcError, match=r"InsufficientBalance: Your balance is too low\.") as caught:
        await rpc.call(client, "refuse", {})
    assert (caught.value.code, caught.value.details) == ("InsufficientBalance", {"missing": 5})


async def test_an_exception_is_told_to_programs_and_not_to_the_websocket(client: jobwire.Client) -> None:
    reply = json.loads(await client.submit({"name": "break", "params": "{}"}))
    assert reply["result"]["error"]["message_to_client"].startswith("Sorry")
    assert "secret" not in json.dumps(reply["result"])
    with pytest.raises(rpc.RpcError, match="InternalServerError: KeyError: 'secret of the house'"):
        rpc.decode_reply(json.dumps(reply))


@pytest.mark.parametrize(
    ("name", "params", "code", "words"),
    [
        ("nope", "{}", "UnrecognisedRequest", "there is no method 'nope'"),
        ("ping", "{", "InputValidationFailed", "JSON"),
        ("ping", "[1]", "InputValidationFailed", "no JSON object"),
        ("ping", '{"args":{"text":1.5,"times":"many"}}', "InputValidationFailed", "times"),
        ("ping", "{}", "InputValidationFailed", "args"),
        ("unsayable", "{}", "InternalServerError", "EncodeError"),
        ("unsayable details", "{}", "InternalServerError", "EncodeError"),
    ],
)
async def test_errors_are_replies(client: jobwire.Client, name: str, params: str, code: str, words: str) -> None:
    reply = await client.submit({"name": name, "params": params})
    with pytest.raises(rpc.RpcError, match=words) as caught:
        rpc.decode_reply(reply)
    assert caught.value.code == code


@pytest.mark.parametrize("data", [{}, {"name": "ping"}, {"name": ["ping"]}, {"name": "ping", "params": {"a": 1}}])
async def test_jobs_that_are_no_calls_get_an_error(client: jobwire.Client, data: dict[str, object]) -> None:
    with pytest.raises(rpc.RpcError, match=r"UnrecognisedRequest|InputValidationFailed"):
        rpc.decode_reply(await client.submit(data))


async def test_a_caller_that_gives_up_takes_the_job_back(client: jobwire.Client) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await rpc.call(client, "slow")
    assert client.outstanding == 0


async def test_the_worker_s_handler_is_the_server_s(redis_url: str) -> None:
    worker = jobwire.Worker(redis_url)
    worker.handler(lambda job: None)
    with pytest.raises(jobwire.ConfigError, match="handler already"):
        rpc.Server(worker)
    await worker.stop()


async def test_a_method_is_registered_once(redis_url: str) -> None:
    worker = jobwire.Worker(redis_url)
    server = rpc.Server(worker)
    server.method("a")(lambda params: None)
    with pytest.raises(jobwire.ConfigError, match="'a'"):
        server.method("a")(lambda params: None)
    await worker.stop()


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ({"result": 1}, "JSON text"),
        ("{", "no JSON text"),
        ("[]", "no JSON object"),
        ("{}", "neither result nor error"),
    ],
)
def test_what_is_no_reply(reply: object, words: str) -> None:
    with pytest.raises(jobwire.ResultDecodeError, match=words):
        rpc.decode_reply(reply)


@pytest.mark.parametrize(
    ("reply", "code", "message"),
    [
        # Replies of Perl workers of this convention, new and old.
        ('{"result":{"error":{"code":"RequestTimeout","message_to_client":"t"}}}', "RequestTimeout", "t"),
        ('{"error":"Unknown RPC name \'x\'"}', "InternalServerError", "Unknown RPC name 'x'"),
        ('{"error":{}}', "InternalServerError", ""),
    ],
)
def test_errors_of_other_workers(reply: str, code: str, message: str) -> None:
    with pytest.raises(rpc.RpcError) as caught:
        rpc.decode_reply(reply)
    assert (caught.value.code, caught.value.message) == (code, message)


def test_a_result_of_another_type() -> None:
    with pytest.raises(jobwire.ResultDecodeError, match="int"):
        rpc.decode_reply('{"result":"x"}', result_type=int)
    assert rpc.decode_reply(b'{"result":"5"}', result_type=int) == 5
    assert rpc.decode_reply('{"result":null}') is None


def test_params_that_cannot_be_said() -> None:
    with pytest.raises(jobwire.EncodeError, match="params"):
        rpc.encode_call("ping", {"a": object()})
    with pytest.raises(jobwire.EncodeError):
        rpc.encode_call("ping", [1])


@given(json_values())
def test_any_json_value_comes_back(value: object) -> None:
    if isinstance(value, dict) and not value.keys().isdisjoint({"error", "stash"}):
        return  # which mean something in the convention
    assert rpc.decode_reply(rpc.encode_success(value)) == value


CALL_RPC = r"""
use strict; use warnings;
use IO::Async::Loop; use Job::Async; use JSON::MaybeUTF8 qw(encode_json_utf8 decode_json_utf8);
my $loop = IO::Async::Loop->new;
$loop->add(my $jobman = Job::Async->new);
my $client = $jobman->client(redis => { uri => shift });
$client->start->get;
binmode STDOUT, ':utf8';
for ([ping => {args => {text => "caf\x{e9} \x{263a}"}}], [refuse => {}], [nope => {}]) {
    my ($name, $params) = @$_;
    my $reply = decode_json_utf8($client->submit(name => $name, params => encode_json_utf8($params))->get);
    my $result = $reply->{result};
    if (ref $result eq 'HASH' and exists $result->{error}) {
        print "error $result->{error}{code}: $result->{error}{message_to_client}\n";
    } else {
        print "result $result->{pong}\n";
    }
}
"""


@pytest.mark.perl
async def test_a_perl_client_that_reads_as_the_proxy_does(client: jobwire.Client, redis_url: str) -> None:
    """What ``call_rpc`` and ``get_rpc_response_cb`` do, with the real Job::Async and JSON::MaybeUTF8."""
    reason = missing("0.004")
    if reason:
        pytest.skip(f"NO PERL: {reason}")
    process = await asyncio.create_subprocess_exec(
        "perl", "-e", CALL_RPC, redis_url, stdout=asyncio.subprocess.PIPE, env=environment("0.004")
    )
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    assert output.decode().splitlines() == [
        "result café ☺",
        "error InsufficientBalance: Your balance is too low.",
        "error UnrecognisedRequest: Unrecognised request",
    ]


ANSWER = r"""
use strict; use warnings;
use IO::Async::Loop; use Job::Async; use JSON::MaybeUTF8 qw(encode_json_utf8 decode_json_utf8);
my $loop = IO::Async::Loop->new;
$loop->add(my $jobman = Job::Async->new);
my $worker = $jobman->worker(redis => { uri => shift });
$worker->jobs->each(sub {
    my $job = $_;
    my $params = decode_json_utf8($job->data('params'));
    $job->done(encode_json_utf8(
        $job->data('name') eq 'ping'
        ? { success => 1, result => { pong => $params->{args}{text} } }
        : { success => 0, result => { error => { code => 'InternalServerError', message_to_client => 'Sorry' } } }
    ));
});
$worker->trigger;
$loop->run;
"""


@pytest.mark.perl
async def test_a_perl_worker_of_the_convention(redis_url: str) -> None:
    reason = missing("0.004")
    if reason:
        pytest.skip(f"NO PERL: {reason}")
    process = await asyncio.create_subprocess_exec("perl", "-e", ANSWER, redis_url, env=environment("0.004"))
    try:
        async with jobwire.Client(redis_url, timeout=30) as client:
            assert await rpc.call(client, "ping", PingParams(Args("café ☺")), result_type=Pong) == Pong("café ☺")
            with pytest.raises(rpc.RpcError, match="InternalServerError: Sorry"):
                await rpc.call(client, "nope")
    finally:
        with contextlib.suppress(ProcessLookupError):  # it died, and stderr says why
            process.kill()
        await process.wait()
