"""Handlers that run in processes: a module that these can import."""

from __future__ import annotations

import os
import sys
import time

import msgspec

from jobwire import Job, current_job


class Range(msgspec.Struct):
    upto: int


class Odd(Exception):
    """One that pickle writes, and does not read."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")


class Local(Exception):
    def __init__(self) -> None:
        super().__init__("local")
        self.function = lambda: None


def total(args: Range) -> int:
    return sum(range(args.upto))


def where(job: Job) -> list[str]:
    return [str(os.getpid()), str(current_job().id), str(job.id)]


def ends_oddly(job: Job) -> object:
    match job.data["how"]:
        case "raise":
            raise ValueError("wrong")
        case "odd":
            raise Odd(5, "reasons")
        case "local":
            raise Local
        case "exit":
            sys.exit(3)
        case "stop":
            raise StopIteration
        case "interrupt":
            raise KeyboardInterrupt
        case "die":
            os._exit(7)
        case "kill":
            os.kill(os.getpid(), 9)
        case "unsendable":
            return lambda: None
        case "long":
            end = time.monotonic() + 60
            while time.monotonic() < end:
                pass
    return "fine"


async def in_loop(job: Job) -> None:
    pass
