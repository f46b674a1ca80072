"""The synopsis of Perl's Job::Async::Redis, in Python: a client and a worker in one process.

python examples/synopsis.py [redis://…]

``examples/synopsis.pl`` is its twin. Either side of one works with the other side of the other.
"""

import asyncio
import sys

import msgspec

import jobwire
from jobwire.testing.server import open_server


class Reverse(msgspec.Struct):
    some_data: str


async def main(url: str) -> None:
    worker = jobwire.Worker(url, job_poll_interval=0.5)

    @worker.handler
    async def reverse(args: Reverse) -> str:
        return args.some_data[::-1]

    async with worker, jobwire.Client(url, timeout=30) as client:
        result = await client.submit({"some_data": "reverse me please"})
        print(result)
        assert result == "esaelp em esrever"


if __name__ == "__main__":
    with open_server(*sys.argv[1:2]) as server:
        asyncio.run(main(server.url))
