"""What the linter of live traffic knows: what it was told, the jobs under way, who listens, what it has flagged."""

from __future__ import annotations

import re
from collections import OrderedDict

from jobwire_conformance.record.readable import shorten, shown
from jobwire_conformance.rules.forms import Breach
from jobwire_conformance.rules.jobs import JobTable
from jobwire_conformance.rules.links import Tapped
from jobwire_conformance.rules.steps import Flag

__all__ = ["CHANNEL", "JOB", "Watch"]

JOB = b"job::"
CHANNEL = b"client::"
_MAX_LISTENING = 50_000
_GENERATED = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
#: Lists that jobwire keeps beside its queues; IDs and records in them are set aside, not queued.
_ASIDE = (b"dead", b"rejected")


class Watch:
    """Shared by the rules of clients, of workers and of connections.

    ``mode``, ``dialect`` and ``prefix`` are what the operator says that all peers use; None: whatever they show.
    """

    def __init__(
        self,
        *,
        mode: str | None = None,
        dialect: str | None = None,
        prefix: str | None = None,
        values: bool = False,
        jobs: JobTable | None = None,
    ) -> None:
        self.mode = mode
        self.dialect = dialect
        self.prefix = None if prefix is None else (b"" if dialect == "0.001" else prefix.encode())
        self.jobs = JobTable() if jobs is None else jobs
        self.now = 0.0
        self.dialects: dict[str, int] = {}
        self._values = values
        self._flags: list[Flag] = []
        self._listening: OrderedDict[bytes, None] = OrderedDict()

    # --- flags --------------------------------------------------------------------------------

    def flag(self, link: Tapped, breach: Breach, *, key: bytes = b"", job: bytes | None = None) -> None:
        """Something goes against a requirement."""
        seen = shorten(breach.actual, 200) if self._values and breach.actual is not None else breach.seen
        expected = breach.expected if isinstance(breach.expected, str) else shorten(breach.expected, 200)
        self._flags.append(
            Flag(
                requirement=breach.requirement,
                what=breach.what,
                expected=expected,
                seen=seen,
                key=shown(key),
                field=shown(breach.field) if breach.field is not None else "",
                job=shown(job) if job is not None else "",
                connection=link.number,
                role=link.role,
            )
        )

    @property
    def has_flags(self) -> bool:
        """Whether there is something for :meth:`taken_flags`."""
        return bool(self._flags)

    def taken_flags(self) -> list[Flag]:
        """The flags since the last call."""
        flags, self._flags = self._flags, []
        return flags

    # --- what there is ------------------------------------------------------------------------

    def listens(self, channel: bytes) -> None:
        """A client has the confirmation of its subscription."""
        if channel.startswith(CHANNEL) and len(channel) <= 4096:
            self._listening[channel.removeprefix(CHANNEL)] = None
            if len(self._listening) > _MAX_LISTENING:
                self._listening.popitem(last=False)

    def is_listening(self, client_id: bytes) -> bool:
        """Whether a client of that ID has ever subscribed."""
        return client_id in self._listening or len(self._listening) >= _MAX_LISTENING

    def says_dialect(self, role: str, dialect: str | None) -> None:
        """Count what a submission or a result shows."""
        name = f"{role} {dialect or '0.002 or 0.003'}"
        self.dialects[name] = self.dialects.get(name, 0) + 1

    def inside(self, key: bytes) -> bool:
        """Whether a list is one of the keyspace that was named; where none was, every list is."""
        if self.prefix is None:
            return True
        return key.startswith(self.prefix + b"::") if self.prefix else b"::" not in key

    def is_queue(self, key: bytes, entry: bytes) -> bool:
        """Whether a list that an unknown entry is pushed on is a queue of jobs, and no list of another program."""
        if key.rpartition(b"::")[2] in _ASIDE:
            return False
        if self.prefix is not None:
            return self.inside(key)
        named = key == b"pending" or key.endswith(b"::pending")
        return named or self.jobs.knows_queue(key) or (b"::" in key and _GENERATED.fullmatch(entry) is not None)
