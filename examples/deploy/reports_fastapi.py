"""FastAPI: 202 and an address for the result. ``uvicorn reports_fastapi:app``."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from pydantic import BaseModel

import jobwire

KEPT = 3600  # seconds for which a result can be fetched


class Order(BaseModel):
    customer: str
    pages: int = 1


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    url = os.environ.get("JOBWIRE_URL", "redis://127.0.0.1")
    async with jobwire.Client(url, prefix=os.environ.get("REPORTS_PREFIX", "jobs"), timeout=None) as client:
        app.state.jobs = client
        yield


app = FastAPI(lifespan=lifespan)


def jobs(request: Request) -> jobwire.Client:
    client: jobwire.Client = request.app.state.jobs
    return client


Jobs = Annotated[jobwire.Client, Depends(jobs)]


@app.post("/reports", status_code=202)
async def order_report(order: Order, response: Response, client: Jobs) -> dict[str, str]:
    job_id = await client.enqueue(order.model_dump(), keep=KEPT)  # returns once Redis has it
    response.headers["Location"] = f"/reports/{job_id}"
    return {"id": str(job_id)}


@app.get("/reports/{job_id}")
async def fetch_report(job_id: str, response: Response, client: Jobs) -> Any:
    try:
        return await client.result(job_id)
    except jobwire.JobTimeout:
        response.status_code = 202  # not done yet
        return {"id": job_id}
    except jobwire.JobLost:
        raise HTTPException(404, "no such report, or no more") from None
    except jobwire.JobFailed as failure:
        raise HTTPException(502, f"the report failed: {failure}") from None
