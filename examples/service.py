"""An asyncio service that submits jobs: a small HTTP server, with nothing but the standard library.

python examples/service.py [redis://…]

``POST /jobs`` with a JSON object submits it and answers the result; ``GET /health`` says how many jobs are outstanding.
One client serves all requests: what they submit in one turn of the loop leaves in one write. The same lines do in any
framework: start the client when the application starts, stop it when it stops.
"""

import asyncio
import json
import sys
import urllib.request
from http import HTTPStatus

import jobwire
from jobwire.testing.server import open_server


class Service:
    def __init__(self, client: jobwire.Client) -> None:
        self.client = client

    async def respond(self, method: str, path: str, body: bytes) -> tuple[HTTPStatus, object]:
        if (method, path) == ("GET", "/health"):
            return HTTPStatus.OK, {"outstanding": self.client.outstanding}
        if (method, path) != ("POST", "/jobs"):
            return HTTPStatus.NOT_FOUND, {"error": "there are POST /jobs and GET /health"}
        try:
            return HTTPStatus.OK, {"result": await self.client.submit(json.loads(body), timeout=10)}
        except (ValueError, jobwire.EncodeError) as error:
            return HTTPStatus.BAD_REQUEST, {"error": str(error)}
        except jobwire.TooManyJobs as error:
            return HTTPStatus.SERVICE_UNAVAILABLE, {"error": str(error)}
        except jobwire.JobTimeout as error:
            return HTTPStatus.GATEWAY_TIMEOUT, {"error": str(error)}
        except jobwire.JobError as error:
            return HTTPStatus.BAD_GATEWAY, {"error": str(error)}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request of one connection."""
        method, path, _ = (await reader.readline()).decode().split()
        length = 0
        while line := (await reader.readline()).strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        status, answer = await self.respond(method, path, await reader.readexactly(length))
        body = json.dumps(answer).encode()
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()


def post(address: str, data: object) -> object:
    request = urllib.request.Request(f"{address}/jobs", json.dumps(data).encode())
    with urllib.request.urlopen(request, timeout=20) as response:
        return json.load(response)


async def main(url: str) -> None:
    worker = jobwire.Worker(url, max_concurrent_jobs=4, job_poll_interval=0.5)

    @worker.handler
    async def square(job: jobwire.Job) -> dict[str, int]:
        number = int(str(job.data["number"]))
        return {"number": number, "square": number * number}

    async with worker, jobwire.Client(url, max_outstanding=1000) as client:
        service = await asyncio.start_server(Service(client).serve, "127.0.0.1", 0)
        async with service:
            host, port = service.sockets[0].getsockname()
            address = f"http://{host}:{port}"
            requests = [asyncio.to_thread(post, address, {"number": number}) for number in range(10)]
            answers = await asyncio.gather(*requests)
    print(*answers, sep="\n")
    assert answers[3] == {"result": {"number": 3, "square": 9}}


if __name__ == "__main__":
    with open_server(*sys.argv[1:2]) as server:
        asyncio.run(main(server.url))
