#!/usr/bin/env bash
# CPython learns to read an attribute of a msgspec Struct as it reads a slot, and never learns to write one.
#
# Versions: msgspec 0.23.0, attrs 26.1.0, CPython 3.11.7, 3.12.1, 3.13.0.
# Expected: a Struct has a C layout and no dict, so reading and writing its attributes, and calling its methods, all become
#   the specialized instructions of classes with __slots__.
# Seen: reads and method calls do, whatever the options of the Struct. A write stays the general instruction after any number
#   of turns, because the type has an attribute setter of its own, so that each looks the attribute up in the class anew. The
#   same happens to all attributes of an attrs class as soon as one of them has a validator.
. "$(dirname "$0")/lib/finding.bash"
with_python msgspec==0.23.0 attrs==26.1.0
cat >"$scratch/learn.py" <<'PYTHON'
import dataclasses
import dis
import attrs
import msgspec

def members():
    return {"__annotations__": {"x": int, "y": int}, "x": 0, "y": 0, "method": lambda self: None}

def struct(**options):
    return type(msgspec.Struct)("S", (msgspec.Struct,), members(), **options)

@dataclasses.dataclass(slots=True)
class Data:
    x: int = 0
    def method(self): pass

@attrs.define
class Attrs:
    x: int = 0
    def method(self): pass

@attrs.define
class Guarded:
    x: int = 0
    y: int = attrs.field(default=0, validator=attrs.validators.instance_of(int))
    def method(self): pass

WAYS = {"read": "o.x", "write": "o.x = 1", "call": "o.method()"}
GENERAL = {"LOAD_ATTR", "STORE_ATTR", "LOAD_METHOD", "LOAD_ATTR_ADAPTIVE", "STORE_ATTR_ADAPTIVE", "LOAD_METHOD_ADAPTIVE"}

def learned(thing, statement):
    made = {}
    exec(f"def use(o):\n {statement}", made)
    for _ in range(5000):
        made["use"](thing)
    names = {one.opname for one in dis.get_instructions(made["use"], adaptive=True)}
    special = {name for name in names if name.startswith(("LOAD_ATTR", "STORE_ATTR", "LOAD_METHOD"))}
    return "general" if special & GENERAL else "specialized"

for name, kind in {
    "dataclass with slots": Data,
    "attrs": Attrs,
    "attrs, one validator": Guarded,
    "Struct": struct(),
    "Struct, eq=False": struct(eq=False),
    "Struct, gc=False": struct(gc=False),
    "Struct, weakref=True": struct(weakref=True),
}.items():
    print(name, *(f"{way}: {learned(kind(), text)}" for way, text in WAYS.items()), sep=" | ")
PYTHON
"$python" "$scratch/learn.py" >"$scratch/out"
seen "$scratch/out" <<'RECORDED'
dataclass with slots | read: specialized | write: specialized | call: specialized
attrs | read: specialized | write: specialized | call: specialized
attrs, one validator | read: specialized | write: general | call: specialized
Struct | read: specialized | write: general | call: specialized
Struct, eq=False | read: specialized | write: general | call: specialized
Struct, gc=False | read: specialized | write: general | call: specialized
Struct, weakref=True | read: specialized | write: general | call: specialized
RECORDED
