"""Flask, and any code that blocks (Django's views are the same): ``flask --app reports_flask run``."""

import os
import threading
from typing import Any

from flask import Flask, request

import jobwire
from jobwire import sync

app = Flask(__name__)
_lock = threading.Lock()
_clients: dict[int, sync.Client] = {}


def jobs() -> sync.Client:
    """The client of this process: made on first use, so that a server that forks has one for each child."""
    with _lock:
        client = _clients.get(os.getpid())
        if client is None:
            url = os.environ.get("JOBWIRE_URL", "redis://127.0.0.1")
            client = sync.Client(url, prefix=os.environ.get("REPORTS_PREFIX", "jobs"), timeout=30)
            client.start()
            _clients[os.getpid()] = client
        return client


@app.post("/reports")
def make_report() -> Any:
    order = request.get_json()
    try:
        return jobs().submit({"customer": order["customer"], "pages": order.get("pages", 1)}).result(timeout=30)
    except jobwire.JobFailed as failure:
        return {"error": str(failure)}, 502
