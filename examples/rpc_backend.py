"""Methods behind the public Perl websocket proxy: Mojo::WebSocketProxy with its backend JobAsync.

python examples/rpc_backend.py [redis://…]

The proxy submits jobs with two text parameters, ``name`` and ``params`` (JSON text: what the websocket client sent,
under ``args``), and reads JSON text. Here ``jobwire.rpc.call`` stands in for it; with the proxy, give both the same
``prefix``.
"""

import asyncio
import json
import sys

import msgspec

import jobwire
from jobwire import rpc
from jobwire.testing.server import open_server


class PingArgs(msgspec.Struct):
    ping: int


class PingParams(msgspec.Struct):
    args: PingArgs
    language: str = "EN"  # what the proxy was told to take from its stash


class Pong(msgspec.Struct):
    pong: int
    language: str


class BuyArgs(msgspec.Struct):
    price: float


class BuyParams(msgspec.Struct):
    args: BuyArgs


async def main(url: str) -> None:
    worker = jobwire.Worker(url, prefix="rpc", max_concurrent_jobs=8, job_poll_interval=0.5)
    server = rpc.Server(worker)

    @server.method("ping")
    async def ping(params: PingParams) -> Pong:
        return Pong(pong=params.args.ping, language=params.language)

    @server.method("buy")
    def buy(params: BuyParams) -> dict[str, float]:  # a plain function: it runs in a thread, and may block
        if params.args.price > 100:
            raise rpc.RpcError("InsufficientBalance", "Your balance is too low.", {"balance": 100})
        return {"balance": 100 - params.args.price}

    async with worker, jobwire.Client(url, prefix="rpc", timeout=30) as client:
        pong = await rpc.call(client, "ping", {"args": {"ping": 1}, "language": "DE"}, result_type=Pong)
        print(pong)
        assert pong == Pong(pong=1, language="DE")

        try:
            await rpc.call(client, "buy", {"args": {"price": 500}})
        except rpc.RpcError as error:
            print(error, error.details)
            assert error.code == "InsufficientBalance"

        # As the proxy sees it: it looks for the error inside the result.
        reply = json.loads(await client.submit({"name": "sell", "params": "{}"}))
        print(reply["result"])
        assert reply["result"]["error"]["code"] == "UnrecognisedRequest"


if __name__ == "__main__":
    with open_server(*sys.argv[1:2]) as server:
        asyncio.run(main(server.url))
