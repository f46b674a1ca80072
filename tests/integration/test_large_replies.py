"""In mode simple a reply that Redis would not deliver is refused, and the replies to other jobs arrive."""

from __future__ import annotations

import asyncio

import pytest
import redis

from jobwire import Job, JobFailed
from jobwire.wire.modes.simple import LARGEST_REPLY
from tests.support.faces import Faces, within


async def test_a_result_that_would_end_the_subscription_is_a_failure(faces: Faces, raw: redis.Redis) -> None:
    async def handler(job: Job) -> str:
        return "x" * int(str(job.data["size"]))

    await faces.worker(handler, mode="simple")
    client = await faces.client(mode="simple", timeout=30.0)
    small = client.submit({"size": 1})
    with pytest.raises(JobFailed, match=r"8388608.*reliable.*result") as caught:
        await within(client.submit({"size": 40 << 20}), 30)
    assert caught.value.type == "EncodeError"
    assert await within(small) == "x"
    # The largest ones come through, and so do those around them.
    largest = LARGEST_REPLY - 200
    values = await within(asyncio.gather(*(client.submit({"size": size}) for size in (largest, 1, largest, 2))), 30)
    assert [len(value) for value in values] == [largest, 1, largest, 2]
    assert len([one for one in raw.client_list() if one["name"].startswith("jobwire-notices")]) == 1
