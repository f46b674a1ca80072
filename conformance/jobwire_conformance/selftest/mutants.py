"""Deliberately broken variants of the Python peer. A suite that does not catch them is of no use.

Each names its fault, the side it breaks, and a case that must fail with it;
``jobwire-conformance mutants`` runs them all and prints the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from jobwire_conformance.driver.protocol import Start
from jobwire_conformance.selftest.rewrites import (
    add_after,
    answer_to_older_words,
    drop,
    each_command,
    empty_is_absent,
    fields_of,
    hide_meta,
    hurry_notice,
    lower_keys,
    mojibake,
    newer_words,
    only_first_field,
    pushed_first,
    rename_key,
    replaced_bytes,
    reply_fields,
    result_as,
    twice,
    unknown_tag_is_text,
    with_notice_deletes,
)
from jobwire_conformance.selftest.transport import Rewrite

__all__ = ["MUTANTS", "VARIANTS", "Mutant", "named"]

Side = Literal["client", "worker", "both"]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One broken peer: its fault, its side, and a case (with its mode) that must catch it."""

    name: str
    does: str
    side: Side
    caught_by: str
    rewrite: Rewrite | None = None
    reply: Callable[[tuple[bytes, ...], Any], Any] | None = None
    push: Callable[[list[Any]], tuple[list[Any] | None, list[tuple[bytes, ...]]]] | None = None
    options: Callable[[Start], dict[str, Any]] | None = None
    mode: str = "reliable"
    also: list[str] = field(default_factory=list)


_ASCII = "values/text/ascii"

MUTANTS: tuple[Mutant, ...] = (
    # --- results
    Mutant("tag-wrong", "writes the tag S for a text", "worker", _ASCII, result_as(lambda r: b"S" + r[1:])),
    Mutant("tag-missing", "writes results without a tag", "worker", _ASCII, result_as(lambda r: r[1:])),
    Mutant(
        "scalar-as-json",
        "writes a scalar as a J document",
        "worker",
        "worker/completion",
        result_as(lambda r: b'J"' + r[1:] + b'"' if r[:1] == b"T" else r),
    ),
    Mutant(
        "container-as-text",
        "writes a container as T and JSON text",
        "worker",
        "result/array",
        result_as(lambda r: b"T" + r[1:] if r[:1] == b"J" else r),
    ),
    Mutant(
        "null-as-word",
        "writes the absence of a result as the word None",
        "worker",
        "worker/accept-none",
        result_as(lambda r: b"TNone" if r == b"T" else r),
    ),
    Mutant(
        "true-as-word",
        "writes true as True",
        "worker",
        "worker/accept-none",
        result_as(lambda r: b"TTrue" if r == b"T1" else r),
    ),
    Mutant(
        "result-stripped",
        "strips white space off results",
        "worker",
        "values/text/looks-like-number",
        result_as(bytes.strip),
    ),
    # --- completion
    Mutant("no-removal", "leaves the ID in the processing queue", "worker", _ASCII, drop(b"LREM", 1)),
    Mutant(
        "removes-all",
        "removes every entry of the ID (LREM … 0)",
        "worker",
        _ASCII,
        each_command(b"LREM", lambda words: (words[0], words[1], b"0", words[3])),
    ),
    Mutant(
        "removes-elsewhere",
        "removes the ID from the pending queue",
        "worker",
        _ASCII,
        each_command(b"LREM", lambda words: (words[0], words[1].replace(b"processing", b"pending"), *words[2:])),
    ),
    Mutant("no-notice", "publishes nothing", "worker", _ASCII, drop(b"PUBLISH", 1)),
    Mutant("notice-first", "publishes before the result is written", "worker", _ASCII, hurry_notice),
    Mutant(
        "notice-elsewhere",
        "publishes to the bare client ID",
        "worker",
        _ASCII,
        each_command(b"PUBLISH", lambda words: (words[0], words[1].removeprefix(b"client::"), words[2])),
    ),
    Mutant(
        "notice-with-key",
        "publishes the key instead of the ID",
        "worker",
        _ASCII,
        each_command(b"PUBLISH", lambda words: (words[0], words[1], b"job::" + words[2])),
    ),
    Mutant(
        "no-times",
        "writes no _started and no _processed",
        "worker",
        _ASCII,
        fields_of(lambda name, value: [] if name in (b"_started", b"_processed") else [(name, value)]),
    ),
    Mutant(
        "millisecond-times",
        "writes times in milliseconds",
        "both",
        _ASCII,
        fields_of(
            lambda name, value: (
                [(name, b"%d" % (float(value) * 1000))] if name in (b"_queued", b"_processed") else [(name, value)]
            )
        ),
    ),
    Mutant(
        "deletes-hash",
        "deletes the hash after a while of its own",
        "worker",
        "worker/completion",
        add_after(b"PUBLISH", lambda words: (b"DEL", b"job::" + words[2])),
    ),
    Mutant(
        "sets-time-to-live",
        "lets job hashes expire",
        "client",
        "client/no-time-to-live",
        add_after(b"HMSET", lambda words: (b"EXPIRE", words[1], b"3600")),
    ),
    # --- submission
    Mutant(
        "prefixed-hash", "puts the prefix in front of the job key", "both", _ASCII, rename_key(b"job::", b"jobs::job::")
    ),
    Mutant("pushed-first", "pushes the ID before the hash is written", "client", _ASCII, pushed_first),
    Mutant("pushed-twice", "pushes the ID twice", "client", _ASCII, twice(b"LPUSH")),
    Mutant(
        "pushed-right",
        "pushes at the right end",
        "client",
        "queue/waits-for-a-worker",
        each_command(b"LPUSH", lambda words: (b"RPUSH", *words[1:])),
    ),
    Mutant(
        "untyped-fields",
        "writes fields without a type",
        "both",
        _ASCII,
        fields_of(lambda name, value: [(name.removeprefix(b"text_"), value)]),
    ),
    Mutant(
        "no-reply-to",
        "leaves _reply_to out",
        "client",
        _ASCII,
        fields_of(lambda name, value: [] if name == b"_reply_to" else [(name, value)]),
    ),
    Mutant(
        "no-queued",
        "leaves _queued out",
        "client",
        _ASCII,
        fields_of(lambda name, value: [] if name == b"_queued" else [(name, value)]),
    ),
    Mutant("empty-is-absent", "leaves empty parameters out", "client", "values/text/empty", empty_is_absent),
    Mutant("mojibake", "encodes text twice (UTF-8 read as Latin-1)", "client", "values/text/utf8", mojibake),
    Mutant("replacement", "replaces what is no UTF-8", "client", "values/bytes/latin1", replaced_bytes),
    Mutant("lower-keys", "writes parameter names in lower case", "client", "keys/case", lower_keys),
    Mutant("last-parameter-lost", "writes only one parameter", "client", _ASCII, only_first_field),
    Mutant(
        "document-as-text",
        "writes a document into a text field",
        "client",
        "client/sereal-field",
        fields_of(lambda name, value: [(name.replace(b"sereal_", b"text_", 1), value)]),
    ),
    # --- taking
    Mutant(
        "takes-last",
        "takes the newest job first",
        "worker",
        "queue/waits-for-a-worker",
        each_command(b"BRPOPLPUSH", lambda words: (b"BLMOVE", words[1], words[2], b"LEFT", b"LEFT", words[3])),
    ),
    Mutant("hides-meta", "hides meta fields from handlers", "worker", "worker/meta-fields", reply=hide_meta),
    Mutant(
        "runs-the-void",
        "runs jobs whose hash is gone",
        "worker",
        "worker/hash-missing",
        reply=reply_fields(lambda fields: fields or {b"text_op": b"empty"}),
    ),
    Mutant(
        "runs-again",
        "runs jobs that have a result",
        "worker",
        "worker/has-result-already",
        reply=reply_fields(lambda fields: {name: value for name, value in fields.items() if name != b"result"}),
    ),
    Mutant(
        "always-accepts-e",
        "writes E results for everybody",
        "worker",
        "worker/failure-silent",
        reply=reply_fields(lambda fields: {**fields, b"_accept": b"E"} if fields else fields),
    ),
    Mutant(
        "too-many-slots",
        "takes twice as many jobs as it may",
        "worker",
        "concurrency/bound",
        options=lambda start: {"max_concurrent_jobs": start.max_concurrent_jobs * 2},
    ),
    Mutant(
        "ignores-multi",
        "ignores use_multi",
        "both",
        f"{_ASCII} *multi=both*",
        options=lambda _start: {"use_multi": False},
    ),
    Mutant(
        "empty-prefix-is-default",
        "takes the empty prefix for none given",
        "both",
        "prefix/empty",
        options=lambda start: {"prefix": start.prefix or "jobs"},
    ),
    Mutant(
        "zero-prefix-is-empty",
        "takes the prefix 0 for an empty one",
        "both",
        "prefix/zero",
        options=lambda start: {"prefix": "" if start.prefix == "0" else start.prefix},
    ),
    Mutant(
        "no-deadline",
        "waits without end",
        "client",
        "client/deadline",
        options=lambda _start: {"timeout": None},
    ),
    # --- collecting
    Mutant("no-deletion", "leaves collected hashes behind", "client", _ASCII, drop(b"DEL", 1)),
    Mutant(
        "eats-unknown-tags",
        "takes a result with an unknown tag for text",
        "client",
        "client/unknown-tag",
        reply=unknown_tag_is_text,
    ),
    Mutant(
        "deletes-foreign-jobs",
        "deletes the hash of every notice",
        "client",
        "client/foreign-notice",
        push=with_notice_deletes,
    ),
)


#: Peers that differ where the protocol leaves a choice: no case catches them. ``caught_by`` names a case to begin with.
VARIANTS: tuple[Mutant, ...] = (
    Mutant("newer-words", "says HSET, HGET, BLMOVE and LMOVE where Perl says HMSET, HMGET, BRPOPLPUSH and RPOPLPUSH",
           "both", _ASCII, newer_words, reply=answer_to_older_words),
)  # fmt: skip


def named(name: str) -> Mutant:
    """The mutant or variant of that name; raises ``KeyError``."""
    return {mutant.name: mutant for mutant in MUTANTS + VARIANTS}[name]
