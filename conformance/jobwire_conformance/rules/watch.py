"""The state of the linter of live traffic: its settings, the jobs under way, the listeners, the flags raised."""

from __future__ import annotations

import re
from collections import OrderedDict

from jobwire_conformance.record.readable import shorten, shown
from jobwire_conformance.rules.facts import traits_of
from jobwire_conformance.rules.forms import Breach
from jobwire_conformance.rules.jobs import JobTable
from jobwire_conformance.rules.links import Tapped
from jobwire_conformance.rules.steps import Flag
from jobwire_conformance.rules.told import Claim

__all__ = ["CHANNEL", "JOB", "Watch"]

JOB = b"job::"
CHANNEL = b"client::"
_MAX_LISTENING = 50_000
_GENERATED = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
#: Lists that jobwire keeps beside its queues; IDs and records in them are set aside, not queued.
_ASIDE = (b"dead", b"rejected")


class Watch:
    """Shared by the rules of clients, of workers and of connections.

    ``mode``, ``dialect`` and ``prefix`` are the operator's statement about all peers; None: whatever they show.
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
        self.prefix = None if prefix is None else (b"" if traits_of(dialect).bare_queues else prefix.encode())
        self.jobs = JobTable() if jobs is None else jobs
        self.now = 0.0
        self.dialects: dict[str, int] = {}
        self._values = values
        self._flags: list[Flag] = []
        self._listening: OrderedDict[bytes, None] = OrderedDict()
        #: Jobs that their clients say they have submitted, by ID.
        self.claims: dict[bytes, Claim] = {}
        self._heard: set[tuple[str, bytes]] = set()

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

    # --- contents ------------------------------------------------------------------------

    def listens(self, link: Tapped, channel: bytes) -> None:
        """A client has the confirmation of its subscription."""
        if channel.startswith(CHANNEL) and len(channel) <= 4096:
            if link.told is not None:
                self._heard.add((link.told.peer, channel.removeprefix(CHANNEL)))
            self._listening[channel.removeprefix(CHANNEL)] = None
            if len(self._listening) > _MAX_LISTENING:
                self._listening.popitem(last=False)

    def is_listening(self, link: Tapped, client_id: bytes) -> bool:
        """Whether a client of that ID has ever subscribed, and is the owner of ``link`` where that is known."""
        if link.told is not None:
            return (link.told.peer, client_id) in self._heard
        return client_id in self._listening or len(self._listening) >= _MAX_LISTENING

    def says_dialect(self, role: str, dialect: str | None) -> None:
        """Count the facts that a submission or a result shows."""
        name = f"{role} {dialect or '0.002 or 0.003'}"
        self.dialects[name] = self.dialects.get(name, 0) + 1

    def dialect_of(self, link: Tapped) -> str | None:
        """The dialect that the owner of ``link`` was told, else that of all; None: whichever it shows."""
        return self.dialect if link.told is None else link.told.dialect

    def prefix_of(self, link: Tapped) -> bytes | None:
        """The same for the prefix."""
        return self.prefix if link.told is None else link.told.prefix

    def inside(self, link: Tapped, key: bytes) -> bool:
        """Whether a list is one of the keyspace that was named; where none was, every list is."""
        prefix = self.prefix_of(link)
        if prefix is None:
            return True
        return key.startswith(prefix + b"::") if prefix else b"::" not in key

    def foreign_queue(self, link: Tapped, key: bytes) -> Breach:
        """A queue that is not :meth:`inside`."""
        expected = f"{shown(self.prefix_of(link) or b'')}::…"
        return Breach("KEY-3", "a queue of another prefix", expected, shown(key))

    def is_queue(self, key: bytes, entry: bytes) -> bool:
        """Whether a list that an unknown entry is pushed on is a queue of jobs, and no list of another program."""
        if key.rpartition(b"::")[2] in _ASIDE:
            return False
        if self.prefix is not None:
            return key.startswith(self.prefix + b"::") if self.prefix else b"::" not in key
        named = key == b"pending" or key.endswith(b"::pending")
        return named or self.jobs.knows_queue(key) or (b"::" in key and _GENERATED.fullmatch(entry) is not None)
