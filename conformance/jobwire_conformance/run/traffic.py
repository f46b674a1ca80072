"""The traffic of a case, judged by the rules that ``jobwire tap`` lints with (:mod:`rules.linter`).

A case states its own expectations; the rules state those of every job. They know more here than tap does: the options
that ``start`` gave to each peer, and the jobs that its client says it has submitted. Only commands are judged, and
steps that did not follow them. Replies are not: in many cases the runner plays the other side, and breaks rules on
purpose.
"""

from __future__ import annotations

from collections.abc import Collection

from jobwire_conformance.cases.case import Fault
from jobwire_conformance.driver.protocol import Start
from jobwire_conformance.record.resp import Decoder
from jobwire_conformance.record.transcripts import Event
from jobwire_conformance.rules.facts import DIALECTS, traits_of
from jobwire_conformance.rules.links import Tapped
from jobwire_conformance.rules.linter import Linter
from jobwire_conformance.rules.steps import Flag
from jobwire_conformance.rules.told import Claim, Told
from jobwire_conformance.rules.watch import Watch
from jobwire_conformance.run.scenario import CaseFailed, Scenario

__all__ = ["Judge", "check_traffic", "told_by"]

#: The keys left in Redis show whether hashes were collected, and peers are given a moment for it.
_LEFT_TO_REDIS = frozenset({"deletion"})
#: A process may be killed, or a connection cut, between a result and its notice.
_BROKEN_OFF = frozenset({"notice"})


def check_traffic(scenario: Scenario) -> None:
    """Check all commands of all peers; raises :class:`CaseFailed` for the first that breaks a rule."""
    judge = Judge(scenario.instance.mode)
    for name, peer in scenario.peers.items():
        hello = peer.process.hello
        judge.told[name] = told_by(name, peer.start, hello.behaviours if hello is not None else ())
    judge.watch.claims = {run.id: Claim() for run in scenario.runs if run.id is not None and run.refused is None}
    for event in scenario.recorder.events:
        judge.event(event)
    broken = any(isinstance(step, Fault) for step in scenario.case.steps)
    judge.end(_LEFT_TO_REDIS | _BROKEN_OFF if broken else _LEFT_TO_REDIS)
    for flag in judge.flags:
        if flag.requirement in scenario.case.breaks:
            continue
        raise CaseFailed(f"{flag.what} ({flag.requirement})", expected=flag.expected, actual=flag.seen)


def told_by(name: str, start: Start, behaviours: Collection[str] = ()) -> Told:
    """The options of ``start`` as the rules read them, for the peer of that name, which claims ``behaviours``."""
    traits = traits_of(start.dialect)
    use_multi: bool | None = start.use_multi
    if start.mode == "simple" or (start.role == "worker" and (start.mode != "reliable" or traits.always_multi)):
        use_multi = None
    prefix = "" if traits.bare_queues else start.prefix
    processing = None
    if start.role == "worker" and start.mode == "reliable" and not start.options.get("own_list"):
        processing = f"{prefix}::{start.processing_queue}" if prefix else start.processing_queue
    return Told(
        peer=name,
        role=start.role,
        dialect=start.dialect if start.dialect in DIALECTS else None,
        prefix=prefix.encode(),
        use_multi=use_multi,
        processing=processing.encode() if start.processing_queue and processing else None,
        marks="recovers" in behaviours,
    )


class Judge:
    """Told of all events in order; ``flags`` say which rules were broken."""

    def __init__(self, mode: str) -> None:
        self.watch = Watch(mode=mode, values=True)
        self.told: dict[str, Told] = {}
        self.flags: list[Flag] = []
        self._linter = Linter(self.watch)
        self._links: dict[int, Tapped] = {}

    def event(self, event: Event) -> None:
        """The next event."""
        self.watch.now = event.t
        link = self._link(event)
        if event.kind == "close":
            link.ends.add(event.direction)
        elif event.kind == "broken" and event.direction:
            self._linter.broken(link, event.direction, str(event.value), event.raw)
            self.flags += self.watch.taken_flags()
        elif event.kind != "open":
            self._frames(link, event)

    def _link(self, event: Event) -> Tapped:
        link = self._links.get(event.connection)
        if link is None:
            told = self.told.get(event.role)
            link = Tapped(event.connection, role=told.role if told is not None else "", told=told)
            self._links[event.connection] = link
        return link

    def _frames(self, link: Tapped, event: Event) -> None:
        for frame in Decoder().feed(event.raw):
            if event.direction == "<":
                self._linter.received(link, frame.value)
                self.watch.taken_flags()
                continue
            words = tuple(word for word in frame.value if isinstance(word, bytes))
            self._linter.command(link, link.sends(words), words)
            self.flags += self.watch.taken_flags()

    def end(self, forgiven: frozenset[str]) -> None:
        """Nothing more will come."""
        self._linter.end(self._links, least=0.0, forgiven=forgiven)
        self.flags += self.watch.taken_flags()
