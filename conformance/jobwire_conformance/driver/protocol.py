"""The driver protocol, version 1: the runner's requests to a peer, and its answers.

A peer is a program that reads JSON lines on stdin and writes JSON lines on stdout; stderr is free
for its log and is kept with the verdicts. Each line is one object whose ``type`` names the message.
The runner speaks first and never sends the next request before it has the answer to ``hello``,
``start`` and ``stop``; ``submit`` and ``cancel`` may be sent without waiting.

========================  =====================================================================
the runner says           the peer answers
========================  =====================================================================
``hello``                 ``hello``: its name, versions and claims
``start``                 ``ready`` once it is subscribed (client) or popping (worker), or
                          ``unsupported``, or ``error``
``submit`` (client)       ``submitted``, later one of ``result`` ``failed`` ``timeout``, in any
                          order; ``unsupported`` or ``error`` with the same ``seq`` when it
                          cannot submit that
``cancel`` (client)       ``failed`` for that ``seq``, or ``unsupported``
``stop``                  ``stopped`` once everything that was begun has ended (drain)
``bye``, end of input     exit with status 0; SIGTERM: drain, then exit with status 0
anything else             ``unsupported``: the runner asks a nonsense command first, to prove that
                          the skip path works
========================  =====================================================================

A worker also reports ``job`` for each job before its handler runs. Fields and messages that a peer
does not know it must ignore (``unsupported`` for a message), and new fields get defaults: that is
how version 1 grows. Values (``data``, ``value``) are tagged JSON, see :mod:`driver.values`; ``op`` names
the operation of a job, see :data:`OPERATIONS`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

__all__ = [
    "ANSWERS",
    "BEHAVIOURS",
    "DRIVER_VERSION",
    "OPERATIONS",
    "REQUESTS",
    "Answer",
    "Bye",
    "Cancel",
    "Error",
    "Failed",
    "Hello",
    "HelloAnswer",
    "Job",
    "Ready",
    "Request",
    "Result",
    "Start",
    "Stop",
    "Stopped",
    "Submit",
    "Submitted",
    "Timeout",
    "Unsupported",
    "decode_answer",
    "decode_request",
    "encode",
]

DRIVER_VERSION = 1

Role = Literal["client", "worker"]
Mode = Literal["simple", "recoverable", "reliable"]


# --- requests ---------------------------------------------------------------------


class Hello(msgspec.Struct, tag="hello", tag_field="type", kw_only=True, frozen=True):
    """The first line; ``driver`` is the version of this protocol that the runner speaks."""

    driver: int = DRIVER_VERSION


class Start(msgspec.Struct, tag="start", tag_field="type", kw_only=True, frozen=True):
    """Become a client or a worker. One ``start`` in the life of a process.

    ``redis`` is a URL (``redis://127.0.0.1:6379`` with ``/<database>`` where it is not 0).
    ``queue`` is the client's pending queue; ``queues`` are the worker's, most urgent first; all
    without prefix. ``processing_queue`` null: the peer's own default. ``timeout`` in seconds: how
    long a client waits for a result, a worker for a handler (null: for ever).
    ``job_poll_interval`` in seconds is the time-out of the worker's pop (null: default).
    ``codec`` is how references travel in a submission. ``id`` is the client or worker ID wanted
    (null: make one). ``strings`` is the reading policy (peers of one string type ignore it).
    ``options`` holds options that only some peers have.
    """

    role: Role
    redis: str
    mode: Mode = "reliable"
    dialect: str = "0.004"
    prefix: str = "jobs"
    queue: str = "pending"
    queues: list[str] = msgspec.field(default_factory=lambda: ["pending"])
    processing_queue: str | None = None
    use_multi: bool = False
    max_concurrent_jobs: int = 1
    timeout: float | None = None
    job_poll_interval: float | None = None
    codec: Literal["sereal", "json"] = "sereal"
    id: str | None = None
    strings: str = "auto"
    options: dict[str, Any] = msgspec.field(default_factory=dict)


class Submit(msgspec.Struct, tag="submit", tag_field="type", kw_only=True, frozen=True):
    """Submit one job. ``seq`` is the runner's number for it; ``data`` the parameters (tagged).

    ``queue`` (null: the one of ``start``) and ``id`` (null: make one) need the behaviours
    ``submit-queue`` and ``submit-id``.
    """

    seq: int
    data: Any
    queue: str | None = None
    id: str | None = None


class Cancel(msgspec.Struct, tag="cancel", tag_field="type", kw_only=True, frozen=True):
    """Give up waiting for a submitted job (behaviour ``cancel``)."""

    seq: int


class Stop(msgspec.Struct, tag="stop", tag_field="type", kw_only=True, frozen=True):
    """Take nothing new, finish the jobs begun, leave the connections, answer ``stopped``."""


class Bye(msgspec.Struct, tag="bye", tag_field="type", kw_only=True, frozen=True):
    """Exit with status 0."""


# --- answers --------------------------------------------------------------------


class HelloAnswer(msgspec.Struct, tag="hello", tag_field="type", kw_only=True, frozen=True):
    """Who the peer is. ``name``, ``language`` and so on are for people, the lists are for the runner.

    A peer is judged by its claims here. ``codecs`` is how its client writes references (``sereal``,
    ``json``) and whether its worker reads Sereal; every worker reads JSON. ``behaviours`` are names of
    :data:`BEHAVIOURS`.
    """

    driver: int
    name: str
    version: str
    language: str
    runtime: str
    libraries: dict[str, str] = {}
    roles: list[Role]
    modes: list[Mode]
    dialects: list[str]
    codecs: list[str] = []
    behaviours: list[str] = []


class Ready(msgspec.Struct, tag="ready", tag_field="type", kw_only=True, frozen=True):
    """Subscribed (client) or popping (worker); the ID of the role that was started."""

    client_id: str | None = None
    worker_id: str | None = None


class Submitted(msgspec.Struct, tag="submitted", tag_field="type", kw_only=True, frozen=True):
    """The submission is in Redis; ``id`` is the job ID (tagged where it is not UTF-8)."""

    seq: int
    id: Any


class Result(msgspec.Struct, tag="result", tag_field="type", kw_only=True, frozen=True):
    """The job's result, tagged."""

    seq: int
    id: Any = None
    value: Any = None


class Failed(msgspec.Struct, tag="failed", tag_field="type", kw_only=True, frozen=True):
    """The job failed at the other side, or its result could not be read; ``kind`` names the error class."""

    seq: int
    id: Any = None
    error: str = ""
    kind: str | None = None


class Timeout(msgspec.Struct, tag="timeout", tag_field="type", kw_only=True, frozen=True):
    """The client's deadline passed; ``error`` is its report of the cause, if it has one."""

    seq: int
    id: Any = None
    error: str = ""


class Job(msgspec.Struct, tag="job", tag_field="type", kw_only=True, frozen=True):
    """The worker took this job and is about to run it; ``data`` as the handler sees it."""

    id: Any
    data: Any


class Stopped(msgspec.Struct, tag="stopped", tag_field="type", kw_only=True, frozen=True):
    """Everything that was begun has ended; ``jobs`` is how many were submitted or taken."""

    jobs: int | None = None


class Unsupported(msgspec.Struct, tag="unsupported", tag_field="type", kw_only=True, frozen=True):
    """The peer cannot do ``what``: the runner counts the case as ``unsupported``, never as a pass."""

    what: str
    seq: int | None = None


class Error(msgspec.Struct, tag="error", tag_field="type", kw_only=True, frozen=True):
    """The peer could, but it went wrong: not ready, not submitted (``seq``), or its own fault."""

    message: str
    kind: str | None = None
    seq: int | None = None


Request = Hello | Start | Submit | Cancel | Stop | Bye
Answer = HelloAnswer | Ready | Submitted | Result | Failed | Timeout | Job | Stopped | Unsupported | Error

REQUESTS: tuple[type[msgspec.Struct], ...] = (Hello, Start, Submit, Cancel, Stop, Bye)
ANSWERS: tuple[type[msgspec.Struct], ...] = (
    HelloAnswer,
    Ready,
    Submitted,
    Result,
    Failed,
    Timeout,
    Job,
    Stopped,
    Unsupported,
    Error,
)

#: The claims besides roles, modes, dialects and codecs; cases that need it are not tried where it is not.
BEHAVIOURS: dict[str, str] = {
    "auto-dialect": "a worker told dialect `auto` answers each job in the dialect that the job shows",
    "cancel": "a client can give up a job that it has submitted (message `cancel`)",
    "chars": "a client tells decoded text from bytes (tag `$chars`; Perl)",
    "client-timeout": "a client honours `timeout`, and says at the deadline where the job stands",
    "diagnoses-mismatch": "what belongs to another mode or dialect is reported as such",
    "exact-floats": "a client sends a float that 15 digits do not say exactly as a Sereal scalar",
    "failure-result": "a failed job reaches the client: `_accept`, the tags `E` and `V`, `_expires`, the list `dead`",
    "own-list": "a worker can have a processing queue of its own, and completes from it by one script",
    "queue-names": "in `reliable` a worker can take from a queue with another name than `pending`",
    "reconnect": "client and worker survive a lost connection",
    "recovers": "the jobs of a dead worker go back to pending",
    "rejects": "a worker sets what it cannot read aside, in the list `rejected`",
    "says-again": "a worker publishes a notice again that nobody heard",
    "server-clock": "`_expires` is written and judged by the server's clock",
    "stop-drains": "a worker that is told to stop, or gets SIGTERM, finishes what it runs and takes nothing new",
    "submit-id": "a client takes the job ID from the runner (`submit` with `id`)",
    "submit-queue": "a client takes the queue from the runner (`submit` with `queue`)",
    "undef": "a client can submit null as a parameter",
    "worker-timeout": "a worker honours `timeout`: a job that runs longer has failed",
}

#: The operations of jobs: ``op`` -> (parameters, meaning). The same table in every language.
#: A job without ``op`` but with ``name`` and ``params`` is one of the public websocket backend: the
#: result is the JSON text ``{"result": {"name": <name>, "params": <decoded params>}}``. A job with
#: neither is answered with the sorted list of its parameter names (an array, possibly empty).
OPERATIONS: dict[str, tuple[str, str]] = {
    "echo": ("value", "result: the value, as the handler received it"),
    "reverse": ("value", "result: the string with its bytes (of its UTF-8 form) in reverse order"),
    "add": ("first, second", "result: the number first + second"),
    "sleep": ("seconds, value?", "waits without blocking the worker's loop; result: value, or `slept`"),
    "json": ("value", "result: the value that this JSON text says (containers, mostly)"),
    "number": ("value", "result: the number that this text says, as a native number"),
    "true": ("", "result: the language's true"),
    "false": ("", "result: the language's false"),
    "undef": ("", "result: the language's null, said explicitly"),
    "empty": ("", "result: the empty string"),
    "nothing": ("", "the handler ends without a result: done() in Perl, None in Python"),
    "several": ("", "Perl: done('one', 'two'); others: the tuple's first element, `one`"),
    "big": ("size, char?", "result: a string of size times char (default `x`)"),
    "sha256": ("value", "result: the SHA-256 of the value's bytes, lower-case hexadecimal"),
    "length": ("value", "result: the number of bytes of the value"),
    "keys": ("", "result: the names of all parameters but `op`, sorted by bytes, as an array"),
    "get": ("name", "result: what the handler sees under this name, fields that start with `_` included"),
    "data": ("", "result: everything the handler sees but `op`, as an object"),
    "nest": ("depth", "result: an array in an array …, depth levels, with `end` inside"),
    "fail": ("message", "the job fails: fail(message) in Perl, a raised error in Python"),
    "die": ("message", "the handler dies: die in jobs->each in Perl, a raised error in Python"),
    "exit": ("code?", "the process exits at once, without any clean-up (default code 3)"),
    "wide": ("", "result: text with U+263A as characters, not bytes (a Perl worker dies of it)"),
    "latin1": ("", "result: the byte 0xE9 alone"),
    "block": ("seconds", "holds the worker's only thread; result: `blocked`"),
    "object": ("", "result: a blessed object in Perl, an instance of an unknown class in Python"),
}

_request_decoder: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_answer_decoder: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)
_encoder = msgspec.json.Encoder()


# Line ends of Unicode stand only inside JSON's strings, where they can be escaped: many readers of lines split at them.
_LINE_ENDS = {sign.encode(): f"\\u{ord(sign):04x}".encode() for sign in "\x85\u2028\u2029"}


def encode(message: Request | Answer) -> bytes:
    """One line of the protocol, newline included."""
    line = _encoder.encode(message)
    for sign, escape in _LINE_ENDS.items():
        line = line.replace(sign, escape)
    return line + b"\n"


def decode_request(line: bytes) -> Request:
    """The request in ``line``; raises ``msgspec.ValidationError`` for anything else."""
    return _request_decoder.decode(line)


def decode_answer(line: bytes) -> Answer:
    """The answer in ``line``; raises ``msgspec.ValidationError`` for anything else."""
    return _answer_decoder.decode(line)
