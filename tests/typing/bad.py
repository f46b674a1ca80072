"""Not run: mypy and pyright must find a mistake in each line that says so."""

from __future__ import annotations

import jobwire


async def mistakes(client: jobwire.Client, worker: jobwire.Worker) -> None:
    text: str = await client.submit({}, result_type=int)  # WRONG: the result is an int
    client.submit({}, timeout="5")  # WRONG: seconds are a number
    client.submit({}, queue=5)  # WRONG: a queue has a name
    client.submit({}, reply_to="x")  # WRONG: no such option
    jobwire.Worker("redis://", on_failure="ignore")  # WRONG: no such policy
    jobwire.Client("redis://", strings="guess")  # WRONG: no such policy
    worker.handler("text")  # WRONG: not a function
    jobwire.Worker("redis://", pending_queues=5)  # WRONG: a list of names
    client.submit({}, result_type=5)  # WRONG: not a type
    number: int = await client.submit({}, result_type=int | None)  # WRONG: it may be None
    jobwire.rpc.Server(worker, business_errors="top")  # WRONG: no such place
    jobwire.rpc.Server(worker).method("x", timeout="5")  # WRONG: seconds are a number
    print(text, number)
