"""Values from the wire as a type wants them: one conversion for the parameters of handlers, results and RPC.

Perl has one kind of scalar, so the type decides: a scalar is read where the type says ``bool``, ``int``, ``float``,
``str`` or ``bytes`` as Perl itself would use it there. The rest is msgspec's.

=============  =====================================================================================================
``bool``       ``""`` and ``"0"`` are false, ``"1"`` is true, other text is refused
``int``        text that Perl's ``looks_like_number`` accepts, where it is whole and no digit is missing
``float``      text that Perl's ``looks_like_number`` accepts, ``Inf`` and ``NaN`` too
``str``        text; a number as Perl prints it (Perl writes a string that was used as a number as a number)
``bytes``      the bytes of the string, never base64
``None``       ``""`` where the type has ``None`` and neither text nor ``bool``: undef in a result
=============  =====================================================================================================

``jobwire.wire.codec.perl_scalars`` has the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Literal, TypeAlias, get_origin

import msgspec
from msgspec import convert
from msgspec import inspect as mi

from jobwire import fast
from jobwire.sereal.values import PerlObject, PerlRegexp, ScalarRef, StringPolicy
from jobwire.wire.codec.perl_scalars import BytesOf, PerlScalar, bytes_of_characters, bytes_of_text
from jobwire.wire.text import words_of

__all__ = ["Characters", "Converter", "characters_of", "converter"]

Characters: TypeAlias = Literal["utf-8", "latin-1"]
"""The decoding of a string's bytes: as UTF-8, or one character a byte (JSON's form of bytes)."""

_Read: TypeAlias = Callable[[Any], Any]


def characters_of(strings: StringPolicy) -> Characters:
    """Return the characters that a string policy makes of bytes."""
    return "latin-1" if strings == "latin-1" else "utf-8"


_WIRE_TYPES = (dict, list, str, bytes, int, float, bool, type(None), PerlObject, PerlRegexp, ScalarRef)
_ARRAYS = (mi.ListType, mi.SetType, mi.FrozenSetType, mi.VarTupleType, mi.CollectionType)
_DICTS = (mi.DictType, *((mi.FrozenDictType,) if hasattr(mi, "FrozenDictType") else ()))
_RECORDS = (mi.StructType, mi.DataclassType, mi.TypedDictType)
_PLAIN = (mi.BoolType, mi.IntType, mi.FloatType, mi.StrType, mi.NoneType, mi.LiteralType, mi.EnumType)
"""Scalars that msgspec makes without being told more, which costs it more than the making."""
_MISSING = object()
_FAULTS = 10
"""Faults of one value that a message names."""


class Converter:
    """Converter to one type. ``strict`` takes Perl's scalars no further than msgspec's lax mode does: ``"5"`` is an
    ``int``, but ``""`` is not false and a number is no text.

    Raises ``TypeError`` for a type that no value from the wire can ever become.
    """

    __slots__ = ("_readers", "_told", "name", "wanted")

    def __init__(self, wanted: Any, *, strict: bool = False) -> None:
        self.name: str = getattr(wanted, "__name__", None) or str(wanted)
        self.wanted = wanted
        _check_supported(wanted)
        compilers: dict[Characters, _Compiler] = {
            "utf-8": _Compiler(bytes_of_text, perl=not strict),
            "latin-1": _Compiler(bytes_of_characters, perl=not strict),
        }
        info = mi.type_info(wanted)
        self._readers = {characters: compiler.read(info) for characters, compiler in compilers.items()}
        told: dict[str, Any] = {"strict": False} if strict else {}
        if not compilers["utf-8"].plain:
            told |= {"builtin_types": (bytes,), "str_keys": True, "dec_hook": _validated}
        self._told = told

    def __call__(self, value: Any, characters: Characters = "utf-8") -> Any:
        """Convert ``value`` to the type. ``characters`` is the decoding of its text, needed for ``bytes``.

        Raises ``msgspec.ValidationError``, for any exception of the type's own code, too.
        """
        read = self._readers[characters]
        try:
            members = value if read is None else read(value)
            # Most types need to be told nothing more, and keywords cost as much as the making.
            return convert(members, self.wanted, **self._told) if self._told else convert(members, self.wanted)
        except msgspec.ValidationError:
            raise
        except RecursionError:
            raise msgspec.ValidationError("nested too deeply") from None
        except Exception as error:  # __post_init__ may raise anything
            raise msgspec.ValidationError(words_of(error)) from error


def converter(wanted: Any, *, strict: bool = False) -> Converter:
    """Return the ``Converter`` for a type, made once. Raises ``TypeError`` as it does."""
    try:
        return _cached(wanted, strict)
    except TypeError:  # not hashable, or not supported
        return Converter(wanted, strict=strict)


@lru_cache(512)
def _cached(wanted: Any, strict: bool) -> Converter:
    return Converter(wanted, strict=strict)


def _check_supported(wanted: Any) -> None:
    """msgspec looks at the whole type before it looks at the value."""
    try:
        msgspec.convert(_MISSING, wanted)
    except msgspec.ValidationError:
        return
    except Exception as error:
        raise TypeError(str(error) if isinstance(error, TypeError) else words_of(error)) from None


# -- a type as a function that makes msgspec's values of Perl's


class _Compiler:
    """One walk through a type. ``None`` for a part means that its values are taken as they are."""

    def __init__(self, bytes_of: BytesOf, *, perl: bool) -> None:
        self.plain = True
        """Of records, arrays and ``_PLAIN`` scalars alone."""
        self._bytes_of = bytes_of
        self._perl = perl
        self._known: dict[int, _Later] = {}
        self._containers: tuple[tuple[tuple[type, ...], Callable[[Any], _Read | None]], ...] = (
            ((mi.UnionType,), lambda info: self._union(info.types)),
            ((*_RECORDS, mi.NamedTupleType), self._named),
            (_DICTS, self._mapping),
            (_ARRAYS, lambda info: _items(self.read(info.item_type))),
            ((mi.TupleType,), lambda info: _positions([self.read(item) for item in info.item_types])),
        )

    def read(self, info: mi.Type) -> _Read | None:
        container = next((read for kinds, read in self._containers if isinstance(info, kinds)), None)
        return self._scalar([info]) if container is None else container(info)

    def _mapping(self, info: Any) -> _Read | None:
        self.plain = False
        return _pairs(self.read(info.key_type), self.read(info.value_type))

    def _scalar(self, infos: Sequence[mi.Type]) -> _Read | None:
        self.plain = self.plain and all(isinstance(info, _PLAIN) for info in infos)
        for info in infos:
            if isinstance(info, mi.CustomType):
                _check_custom(info.cls)
        infos = [info for info in infos if not (isinstance(info, mi.CustomType) and _validates_itself(info.cls))]
        if not infos:
            return None
        scalar = PerlScalar(infos, self._bytes_of)
        if self._perl:
            return scalar.read if scalar.reads else None
        return scalar.read_bytes if scalar.is_bytes else None

    def _named(self, info: Any) -> _Read | None:
        """Read a named type. One that contains itself is read, inside itself, by the finished reader."""
        known = self._known.get(id(info))
        if known is not None:
            return known if known.read is None else known.read
        later = self._known[id(info)] = _Later(info)
        read = later.read = self._record(info)
        return read

    def _record(self, info: Any) -> _Read | None:
        _check_own_validation(info)
        fields = [(field.encode_name, self.read(field.type)) for field in info.fields]
        tag = None if getattr(info, "tag_field", None) is None else (info.tag_field, self._tag([info.tag]))
        if not _is_array(info):
            return _members([*fields, tag] if tag else fields)
        reads = [read for _, read in fields]
        return _positions([tag[1], *reads] if tag else reads)

    def _tag(self, tags: Iterable[str | int]) -> _Read | None:
        return self._scalar([mi.LiteralType(tuple(tags))])

    def _union(self, infos: Sequence[mi.Type]) -> _Read | None:
        objects = [info for info in infos if isinstance(info, (*_RECORDS, *_DICTS)) and not _is_array(info)]
        arrays = [info for info in infos if isinstance(info, (*_ARRAYS, mi.TupleType)) or _is_array(info)]
        containers = [*objects, *arrays]
        by_type: dict[type, _Read | None] = {
            dict: self._one_of(objects, lambda value, field: value.get(field)),
            list: self._one_of(arrays, lambda value, _: value[0] if value else None),
        }
        scalar = self._scalar([info for info in infos if info not in containers])
        if scalar is None and not any(by_type.values()):
            return None

        def read(value: Any) -> Any:
            chosen = by_type.get(type(value), scalar)
            return value if chosen is None else chosen(value)

        return read

    def _one_of(self, infos: Sequence[Any], tag_in: Callable[[Any, str], Any]) -> _Read | None:
        """Read a value of several types by its tag; msgspec allows several only where each has one."""
        reads = [self.read(info) for info in infos]
        if len(infos) < 2:
            return reads[0] if reads else None
        by_tag = {info.tag: read for info, read in zip(infos, reads, strict=True)}
        field = infos[0].tag_field
        read_tag = self._tag(by_tag)

        def read(value: Any) -> Any:
            tag = tag_in(value, field)
            chosen = by_tag.get(tag if read_tag is None else read_tag(tag)) if isinstance(tag, str | int) else None
            return value if chosen is None else chosen(value)

        return read


class _Later:
    """Placeholder for a type inside itself while that is not compiled yet."""

    __slots__ = ("info", "read")

    def __init__(self, info: mi.Type) -> None:
        self.info = info  # kept, so that nothing else gets its id
        self.read: _Read | None = None

    def __call__(self, value: Any) -> Any:
        return value if self.read is None else self.read(value)


def _is_array(info: Any) -> bool:
    return isinstance(info, mi.NamedTupleType) or bool(getattr(info, "array_like", False))


def _check_custom(kind: Any) -> None:
    try:
        possible = any(issubclass(wire, kind) for wire in _WIRE_TYPES)
    except TypeError:
        possible = True
    if not possible:
        if _validates_itself(kind):
            return
        remedy = "use a msgspec.Struct, a dataclass, an attrs class, a TypedDict or a pydantic model"
        raise TypeError(f"msgspec does not know how to make a {kind.__module__}.{kind.__qualname__}; {remedy}")


def _validates_itself(kind: Any) -> bool:
    """Is it a pydantic model? Its own code makes it, so pydantic itself is not needed here."""
    return callable(getattr(kind, "model_validate", None))


def _validated(kind: Any, value: Any) -> Any:
    """Make a value of a type that msgspec does not know."""
    if not _validates_itself(kind):
        if isinstance(value, get_origin(kind) or kind):
            return value
        raise TypeError(f"Expected `{getattr(kind, '__name__', kind)}`, got `{type(value).__name__}`")
    try:
        return kind.model_validate(value)
    except ValueError as error:
        faults: Any = getattr(error, "errors", None)
        if faults is None:
            raise
        told = [(".".join(map(str, fault["loc"])), fault["msg"]) for fault in faults()[:_FAULTS]]
        raise ValueError("; ".join(f"{place}: {words}" if place else str(words) for place, words in told)) from None


def _check_own_validation(info: Any) -> None:
    """Raise ``TypeError`` for a class whose own checks msgspec would leave out."""
    kind: Any = getattr(info, "cls", object)
    if hasattr(kind, "__pydantic_validator__"):
        raise TypeError(f"{kind.__qualname__} would be made without pydantic's checks; use a pydantic BaseModel")
    converting = [field.name for field in getattr(kind, "__attrs_attrs__", ()) if field.converter is not None]
    if converting:
        raise TypeError(f"the converters of {kind.__qualname__} ({', '.join(converting)}) would not be called")


def _fitting(read: _Read) -> frozenset[type]:
    """Return the types whose values ``read`` gives back as they are, as far as that is known: most need no call."""
    scalar = getattr(read, "__self__", None)
    return scalar.fitting if isinstance(scalar, PerlScalar) and read == scalar.read else frozenset()


def _reads_digits(read: _Read) -> bool:
    """Return whether ``read`` makes an integer of digits."""
    scalar = getattr(read, "__self__", None)
    return isinstance(scalar, PerlScalar) and read == scalar.read and scalar.reads_digits


def _members(fields: Sequence[tuple[str, _Read | None]]) -> _Read | None:
    reads = tuple((name, read, _fitting(read), _reads_digits(read)) for name, read in fields if read is not None)
    if not reads:
        return None

    def read_members(value: Any) -> Any:
        compiled = fast.members(value, reads)
        if compiled is not None or type(value) is not dict:
            return value if compiled is None else compiled
        made = value
        for name, read, fitting, digits in reads:
            old = value.get(name, _MISSING)
            if digits and type(old) is str and old.isdigit() and old.isascii():
                new: Any = int(old)  # as it is in most jobs, without two calls
            elif type(old) in fitting or old is _MISSING or (new := read(old)) is old:
                continue
            if made is value:
                made = value.copy()
            made[name] = new
        return made

    return read_members


def _positions(reads: Sequence[_Read | None]) -> _Read | None:
    if not any(reads):
        return None

    def read_positions(value: Any) -> Any:
        if type(value) is not list:
            return value
        read = [item if each is None else each(item) for each, item in zip(reads, value, strict=False)]
        return read + value[len(read) :]

    return read_positions


def _items(read: _Read | None) -> _Read | None:
    if read is None:
        return None
    fitting = _fitting(read)

    def read_items(value: Any) -> Any:
        if type(value) is not list or fitting.issuperset(map(type, value)):
            return value
        return [read(item) for item in value]

    return read_items


def _pairs(key: _Read | None, item: _Read | None) -> _Read | None:
    if key is None and item is None:
        return None
    read_key, read_item = key or _as_it_is, item or _as_it_is

    def read_pairs(value: Any) -> Any:
        if type(value) is not dict:
            return value
        read = {read_key(name): read_item(held) for name, held in value.items()}
        if len(read) != len(value):
            raise msgspec.ValidationError("two keys of one mapping are the same key of this type")
        return read

    return read_pairs


def _as_it_is(value: Any) -> Any:
    return value
