"""The Lua of jobwire's workers and clients, known by its SHA-1: a suite that judges a program does not import it.

``python -m ci.script_names --write`` adds the scripts of ``jobwire.wire`` as it is. An entry stays where a text
changes: fleets are upgraded worker by worker, and recordings are read for years.
"""

from __future__ import annotations

from hashlib import sha1
from typing import NamedTuple

__all__ = ["SCRIPTS", "Completion", "completed", "completions", "script_name", "script_words"]

#: SHA-1 in lower case -> name.
SCRIPTS: dict[bytes, str] = {
    b"526416a988e74f8a2a8ac9b454d49907f80f813b": "ADOPT",
    b"f3ac5d4175cf37719e5e0186e8402c3c35961300": "BURY",
    b"14f38cff212d48ea0a43313a7c3e1a14d4d504a4": "BURY_MARKED",
    b"5322a0b07ab6977196ac75706b95bbc7115a5363": "CALL_OFF",
    b"67e5ba3959ad0d7f0a4290c238739d09f0eac1bd": "CALL_OFF",
    b"5d342b0276f42d3f83fff6b4c0c29996d7fb49c2": "CLAIM",
    b"ed83ba575fffa2389f1f6348973dbb4fea52ff78": "CLAIM",
    b"18bec509a4fe36cbd6b431c63524aea15b776395": "COMPLETE",
    b"36d44ca54a9d3116531ac813f57c0e890fdc9e45": "COMPLETE",
    b"392329d452faebb667ddbeacbb2151f3c0daf784": "COMPLETE_MANY",
    b"531a007027496cb1895753110376aab075643b30": "COMPLETE_MANY",
    b"a076b236dcfab845ee55cfefd40d4f276cb0472d": "COMPLETE_MANY",
    b"a5533f16e99f6b6bcf191e8d6b37f06f4693cda8": "DELETE_GHOST",
    b"505b1501ee2da76d8c72480b7878b884edcd31cb": "EXPIRE_UNHEARD",
    b"4403d09e2d2773808888d2c52034f9e4f2a6f987": "FORGET_DUPLICATE",
    b"f65ce6ceabb2959472760e2552daf4ba16e3ddfe": "GIVE_BACK",
    b"d7b8d616ff171dc891ae23eb3c54174175a67ccf": "GIVE_BACK_MARKED",
    b"6b4a8ab923e8bf582ef414b87127ca7456ca5d6d": "LOSE",
    b"2eccba58343027215b0e2394335c9044696a0ca6": "LOSE_MARKED",
    b"5742757f42115fa9cd2873033e53dab4fd1fbe0e": "LOSE_TO_LIST",
    b"bf36883c276c95ec13d5271a254332605cca8884": "MAY_LOOK",
    b"b404af8956ab94dafcc7f4ceab39a47219ce392d": "NOTE",
    b"db1bf578d748f8c303e65a78c62ba46262e43c70": "NOTE_FAILURE",
    b"8fd554cecf816cf03121b920b747ca2fb0ddccab": "ONE_COMMAND",
    b"a12c89b59d4193f432af1d964eaac6c472f5750e": "REJECT",
    b"2290ae263be171eb8ce64eee664e4a9e970b1428": "RELEASE",
    b"df7ab79249b83f170857eae6413d2ef21800584a": "REQUEUE",
    b"2db75cbb5a27c1a960c1b9c260d2f7176089b414": "REQUEUE_DEAD",
    b"9700cae6798b73d22dd14912db8176d077c24a30": "REQUEUE_DEAD",
    b"ba7ce90c57fffb3b3edddb840b09e28b219f3ad9": "REQUEUE_DEAD",
    b"d2651633c7278ef27956bd53c392f3f907f74a13": "REQUEUE_DEAD",
    b"ceb3936a348c0ef2a7e70a06f8b9656a9e19862a": "REQUEUE_MARKED",
    b"101139f586e1586a30f1cd7d32ac91a550672d16": "REQUEUE_REJECTED",
    b"66e55134f1fc7c19bac38b60d836de04b29ffbaf": "REQUEUE_REJECTED",
    b"714b017aab99589c9a5bbbd1601b123522430856": "REQUEUE_REJECTED",
    b"794bd6c9139e1123f2c8e163a5045960ad54e549": "RETURN_MARKED",
    b"2167f48932646c6e16e0accd38753a3805500c0b": "RETURN_NEWEST",
    b"8e8f3f9033eba0a13c1d800fdf38e822adcd0113": "RETURN_TO_LIST",
    b"43dfdcd03f345abfe57bd0afc05018b0fa06a4dc": "SETTLE",
    b"27d103dffcee70b459a5056a2db60ebf98104366": "STRIP",
    b"8e3649781db72a99abaeae842b914326a408a85a": "STRIP",
    b"28209d8bdd7262f9bb9b104fd7371d22c64aecf3": "TAKE_MANY",
    b"6495d43e9203e034bbac2eac8b32ee1a6c0f8e92": "TAKE_WORD_BACK",
    b"9a8b61d918e3f9a0b67209d253f13f1f97f4da18": "TELL_REJECTED",
    b"832c7effce3662157517b5b0e61584396708652f": "WITHDRAW",
    b"9f58f2a77c7f43702064da31639e0cf5e61a9db8": "WITHDRAW",
    b"e1b0df57dee09d77ead6a26e3c32b785482c9dcb": "WITHDRAW",
    b"a809f6ead825c070364c8212b07ca3c851f09c67": "WRITE_RESULT",
    b"f14061aa314fc981671aa169d95ae3d8695ee7cb": "WRITE_RESULT",
}


def script_name(words: tuple[bytes, ...]) -> str | None:
    """The name of the script of jobwire's that EVAL or EVALSHA calls; None for one of another program."""
    if len(words) < 3:
        return None
    called = words[1] if words[0].upper() == b"EVALSHA" else sha1(words[1], usedforsecurity=False).hexdigest().encode()
    return SCRIPTS.get(called.lower())


def script_words(words: tuple[bytes, ...]) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """The keys and the arguments of EVAL or EVALSHA."""
    count = int(words[2]) if len(words) > 2 and words[2].isdigit() else 0
    return words[3 : 3 + count], words[3 + count :]


class Completion(NamedTuple):
    """What a script is to complete."""

    job: bytes
    key: bytes
    channel: bytes
    fields: dict[bytes, bytes]


_COMPLETION = (b"result", b"_started", b"_processed")


def completions(name: str | None, words: tuple[bytes, ...]) -> list[Completion]:
    """The jobs that a call of the script ``name`` is to complete; none where that is another script."""
    keys, given = script_words(words)
    if name == "COMPLETE" and len(given) >= 3 and len(keys) == 2:
        return [Completion(given[0], keys[1], given[1], _fields(given[2:]))]
    if name == "WRITE_RESULT" and len(given) >= 4 and keys:
        fields = dict(zip(given[4::2], given[5::2], strict=False))
        return [Completion(given[0], keys[0], given[1], fields)]
    if name == "COMPLETE_MANY" and len(given) == 4 * (len(keys) - 1):
        return [
            Completion(key.removeprefix(b"job::"), key, given[4 * at], _fields(given[4 * at + 1 : 4 * at + 4]))
            for at, key in enumerate(keys[1:])
        ]
    return []


def completed(name: str | None, words: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The IDs of the jobs that a call of the script ``name`` is to complete; its first words are enough."""
    keys, given = script_words(words)
    if name == "COMPLETE_MANY":
        return tuple(key.removeprefix(b"job::") for key in keys[1:])
    return given[:1] if name in {"COMPLETE", "WRITE_RESULT"} else ()


def _fields(given: tuple[bytes, ...]) -> dict[bytes, bytes]:
    """Result and times; empty ones are of a dialect that does not write them."""
    return {name: value for name, value in zip(_COMPLETION, given, strict=False) if value or name == b"result"}
