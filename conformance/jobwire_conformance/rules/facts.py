"""What the dialects differ in, as far as cases depend on it, and which pairs understand each other.

The suite keeps its own table: it must be able to contradict ``jobwire.wire``.
"""

from __future__ import annotations

__all__ = ["DIALECTS", "FACTS", "misunderstanding"]

DIALECTS = ("0.001", "0.002", "0.003", "0.004", "master")

#: dialect -> facts that cases may need (source: the releases of Job::Async::Redis, Worker/Redis.pm and Client/Redis.pm)
FACTS: dict[str, frozenset[str]] = {
    "0.001": frozenset({"bare-queues", "untagged", "no-times"}),
    "0.002": frozenset({"prefix", "typed-fields", "sereal", "untagged", "no-times"}),
    "0.003": frozenset({"prefix", "typed-fields", "sereal", "tagged", "no-times"}),
    "0.004": frozenset({"prefix", "typed-fields", "sereal", "tagged", "times", "poll-interval"}),
    "master": frozenset({"prefix", "typed-fields", "sereal", "tagged", "times", "poll-interval", "reconnect"}),
}


def misunderstanding(client: str, worker: str) -> str | None:
    """Why a client and a worker of these dialects cannot work together; None where they can."""
    if client == worker:
        return None
    if "0.001" in (client, worker):
        return "0.001 has queues without prefix and untyped fields: the two never meet on a queue"
    if "0.002" in (client, worker):
        return (
            "0.002 writes results without a tag: the other side's client cuts the first character off"
            if worker == "0.002"
            else "a 0.002 client does not know the tag in front of a result and hands it on"
        )
    return None
