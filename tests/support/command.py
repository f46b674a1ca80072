"""The command ``jobwire`` as a process, with its log, for tests."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


class Process:
    """A ``jobwire`` process with its log."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self._log = folder / f"log{len(list(folder.glob('log*')))}"
        with self._log.open("wb") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "jobwire", *arguments],
                cwd=folder,
                stderr=log,
                stdout=log,
                env={**os.environ, **environment},
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def has_logged(self, words: str, times: int = 1, seconds: float = 15) -> None:
        end = time.monotonic() + seconds
        while len(re.findall(words, self.log)) < times:
            assert time.monotonic() < end, f"no {words!r} in: {self.log}"
            time.sleep(0.02)

    def ends(self, code: int, seconds: float = 15) -> str:
        assert self.popen.wait(seconds) == code, self.log
        return self.log

    def stops(self, number: signal.Signals = signal.SIGTERM) -> str:
        self.popen.send_signal(number)
        return self.ends(0)


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


Start = Callable[..., Process]
