"""Lua that Redis runs for us where several commands must be one step.

Scripts, rather than MULTI with WATCH, because each decides by a command's answer, and must not be tried again and
again under load. They use nothing newer than Redis 6.2. The writes of a script before one of its commands fails stay,
so an entry is removed from its old place only after it stands in its new one.
"""

from __future__ import annotations

from hashlib import sha1

import msgspec

from jobwire.errors import ServerError
from jobwire.wire.commands import Command, Reply

__all__ = [
    "BURY",
    "BURY_MARKED",
    "CALL_OFF",
    "COMPLETE",
    "COMPLETE_MANY",
    "DELETE_GHOST",
    "EXPIRE_UNHEARD",
    "FORGET_DUPLICATE",
    "GIVE_BACK",
    "GIVE_BACK_MARKED",
    "LOSE",
    "LOSE_MARKED",
    "NOTE",
    "NOTE_FAILURE",
    "REJECT",
    "REQUEUE",
    "REQUEUE_MARKED",
    "TAKE_MANY",
    "TELL_REJECTED",
    "WITHDRAW",
    "Script",
    "insist",
    "is_out_of_memory",
]

_SOURCES: dict[bytes, bytes] = {}
"""The scripts that there are, by their SHA-1."""


class Script(msgspec.Struct, frozen=True):
    """A script and its SHA-1, by which Redis knows it once it was loaded."""

    source: bytes
    sha: bytes

    @classmethod
    def of(cls, source: str) -> Script:
        raw = source.encode()
        sha = sha1(raw, usedforsecurity=False).hexdigest().encode()
        _SOURCES[sha] = raw
        return cls(raw, sha)

    def load(self) -> Command:
        return (b"SCRIPT", b"LOAD", self.source)

    def opening(self, keys: int) -> Command:
        """Return the beginning of a call by SHA-1, before its keys."""
        return (b"EVALSHA", self.sha, b"%d" % keys)

    def call(self, keys: tuple[bytes, ...], *args: bytes) -> Command:
        """Call by SHA-1; answers the error ``NOSCRIPT`` on a server that does not know it (yet, or any more)."""
        return (*self.opening(len(keys)), *keys, *args)

    def call_whole(self, keys: tuple[bytes, ...], *args: bytes) -> Command:
        """With its source: for rare calls, where loading first is not worth it."""
        return (b"EVAL", self.source, b"%d" % len(keys), *keys, *args)


COMPLETE = Script.of("""\
local call, job, given = redis.call, KEYS[2], ARGV
if call('LREM', KEYS[1], -1, given[1]) == 0 then return 0 end
if given[4] then
  call('HSET', job, 'result', given[3], '_started', given[4], '_processed', given[5])
else
  call('HSET', job, 'result', given[3])
end
return 1 + call('PUBLISH', given[2], given[1])
""")
"""KEYS own list, job hash; ARGV job ID, channel, result, and in dialects that write them when it was started and
processed → 0 given away meanwhile, else written and published: 1 and how many heard it. From the tail, where the oldest
entry of an own list is."""

COMPLETE_MANY = Script.of("""\
local call, type, sub, keys, args, codes = redis.pcall, type, string.sub, KEYS, ARGV, {}
local own, count, given, channel = keys[1], #keys - 1, 1, ''
local oldest = call('LRANGE', own, -count, -1)
local in_order = #oldest == count
for at = 1, count do
  in_order = in_order and oldest[count + 1 - at] == sub(keys[at + 1], 6)
end
if in_order then in_order = not call('RPOP', own, count).err end
for at = 1, count do
  local job, started = keys[at + 1], args[given + 2]
  if args[given] ~= '' then channel = args[given] end
  local id = in_order and oldest[count + 1 - at] or sub(job, 6)
  local code = in_order and 1 or call('LREM', own, -1, id)
  if code == 1 then
    if started ~= '' then
      code = call('HSET', job, 'result', args[given + 1], '_started', started, '_processed', args[given + 3])
    else
      code = call('HSET', job, 'result', args[given + 1])
    end
    if type(code) == 'number' then code = call('PUBLISH', channel, id) end
    if type(code) == 'number' then code = 1 + code end
  end
  codes[at] = code
  given = given + 4
end
return codes
""")
"""KEYS own list, job hashes; ARGV for each of these channel (empty for that of the job before), result, when it was
started and processed (both empty in dialects that do not write them) → for each what COMPLETE answers, or an error,
which is that job's alone. Jobs that end in the order in which they were taken, as most do, are the tail of the list,
and leave it by one command."""

TAKE_MANY = Script.of("""\
local call, pending, own = redis.pcall, KEYS[1], KEYS[2]
local last = call('LRANGE', pending, -tonumber(ARGV[1]), -1)
local count, oldest = #last, {}
if last.err or count == 0 then return last end
for at = 1, count do oldest[at] = last[count + 1 - at] end
local moved = call('LPUSH', own, unpack(oldest))
if type(moved) == 'table' then return moved end
local gone = call('RPOP', pending, count)
if gone.err then
  for at = 1, count do call('LREM', own, 1, oldest[at]) end
  return gone
end
return oldest
""")
"""KEYS pending queue, own list; ARGV how many → the entries moved, the oldest first, as so many RPOPLPUSH would have;
an error where there is one, and then nothing was moved."""

GIVE_BACK = Script.of("""\
if not redis.call('LPOS', KEYS[1], ARGV[1]) then return 0 end
redis.call('RPUSH', KEYS[2], ARGV[1])
redis.call('LREM', KEYS[1], 1, ARGV[1])
return 1
""")
"""KEYS processing list, pending queue; ARGV job ID → 1 taken next by whoever pops, 0 was not there."""

GIVE_BACK_MARKED = Script.of("""\
redis.call('RPUSH', KEYS[2], ARGV[1])
redis.pcall('HDEL', KEYS[1], unpack(ARGV, 2))
return 1
""")
"""KEYS job hash, pending queue; ARGV job ID, the fields of the mark → 1 taken next by whoever pops. Without the mark:
with it, the job would be recovered when this worker dies, wherever it is by then."""

NOTE_FAILURE = Script.of("""\
if not redis.call('LPOS', KEYS[1], ARGV[1]) then return 0 end
if redis.call('TYPE', KEYS[2]).ok == 'hash' then redis.call('HSET', KEYS[2], unpack(ARGV, 2)) end
return 1
""")
"""KEYS processing list, job hash; ARGV job ID, field, value … → 1 written if there is a hash, 0 given away."""

REQUEUE = Script.of("""\
if not redis.call('LPOS', KEYS[1], ARGV[1]) then return 0 end
if redis.call('TYPE', KEYS[3]).ok == 'hash' then redis.call('HSET', KEYS[3], unpack(ARGV, 2)) end
redis.call('RPUSH', KEYS[2], ARGV[1])
redis.call('LREM', KEYS[1], 1, ARGV[1])
return 1
""")
"""KEYS processing list, pending queue, job hash; ARGV job ID, field, value … → 1 taken next by whoever pops, 0 given
away meanwhile."""

LOSE = Script.of("""\
if not redis.call('LPOS', KEYS[1], ARGV[1]) then return 0 end
local had = redis.pcall('HGET', KEYS[3], ARGV[1])
local losses = tonumber(type(had) == 'string' and string.match(had, '^%d+$') or 0) + 1
if losses >= tonumber(ARGV[2]) then
  if KEYS[5] and redis.call('TYPE', KEYS[5]).ok == 'hash' then redis.call('HSET', KEYS[5], ARGV[3], ARGV[4]) end
  redis.call('LPUSH', KEYS[4], ARGV[1])
  redis.pcall('HDEL', KEYS[3], ARGV[1])
else
  redis.call('RPUSH', KEYS[2], ARGV[1])
  redis.pcall('HSET', KEYS[3], ARGV[1], losses)
end
redis.call('LREM', KEYS[1], 1, ARGV[1])
return losses
""")
"""KEYS processing list, pending queue, losses, dead list, job hash (not on a cluster); ARGV job ID, losses allowed,
field, value → how often it was lost, 0 given away meanwhile."""

REQUEUE_MARKED = Script.of("""\
if redis.call('HGET', KEYS[1], ARGV[2]) ~= ARGV[4] then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 5))
redis.call('RPUSH', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[2], ARGV[3])
return 1
""")
"""KEYS job hash, pending queue; ARGV job ID, ``_worker``, ``_started``, worker ID, field, value … → 1 taken next by
whoever pops, without its mark, 0 the mark is another's by now."""

LOSE_MARKED = Script.of("""\
if redis.call('HGET', KEYS[1], ARGV[2]) ~= ARGV[4] then return 0 end
local had = redis.pcall('HGET', KEYS[3], ARGV[1])
local losses = tonumber(type(had) == 'string' and string.match(had, '^%d+$') or 0) + 1
if losses >= tonumber(ARGV[5]) then
  redis.call('HSET', KEYS[1], ARGV[6], ARGV[7])
  redis.call('LPUSH', KEYS[4], ARGV[1])
  redis.pcall('HDEL', KEYS[3], ARGV[1])
else
  redis.call('RPUSH', KEYS[2], ARGV[1])
  redis.pcall('HSET', KEYS[3], ARGV[1], losses)
end
redis.call('HDEL', KEYS[1], ARGV[2], ARGV[3])
return losses
""")
"""KEYS job hash, pending queue, losses, dead list; ARGV job ID, ``_worker``, ``_started``, worker ID, losses allowed,
field, value → how often it was lost, 0 the mark is another's by now."""

WITHDRAW = Script.of("""\
local from = 0
if redis.call('LPOS', KEYS[1], ARGV[1], 'MAXLEN', ARGV[2]) then from = 1
elseif redis.call('LPOS', KEYS[1], ARGV[1], 'RANK', -1, 'MAXLEN', ARGV[2]) then from = -1 end
local job = KEYS[2]
if from ~= 0 then
  redis.call('LREM', KEYS[1], from, ARGV[1])
  if job then redis.call('DEL', job) end
  return 1
end
local has = job and redis.pcall('HMGET', job, '_reply_to', 'result')
if has and has[1] and not has[2] then redis.call('HMSET', job, ARGV[3], ARGV[4]) end
return 0
""")
"""KEYS pending queue, job hash (not on a cluster); ARGV job ID, how many entries at either end, ``_expires``, a moment
that is over → 1 the job is gone as if never submitted; 0 it is not there, and will not be begun if it waits elsewhere.
To go through a whole queue would hold the server: 37 ms at a million jobs. In commands that a client may use anyway."""

CALL_OFF = Script.of("""\
local has = redis.pcall('HMGET', KEYS[1], '_reply_to', 'result')
if not has[1] or has[2] then return 0 end
redis.call('HMSET', KEYS[1], ARGV[1], ARGV[2])
return 1
""")
"""KEYS job hash; ARGV ``_expires``, a moment that is over → 1 the job will not be begun: ``WITHDRAW`` on a cluster, for
the hash."""

BURY = Script.of("""\
if not redis.call('LPOS', KEYS[1], ARGV[1]) then return 0 end
redis.call('HMSET', KEYS[2], ARGV[2], ARGV[3])
redis.call('LPUSH', KEYS[3], ARGV[1])
redis.call('LREM', KEYS[1], 1, ARGV[1])
return 1
""")
"""KEYS processing list, job hash, dead list; ARGV job ID, field, value → 1 buried, 0 given away meanwhile."""

BURY_MARKED = Script.of("""\
redis.call('LPUSH', KEYS[2], ARGV[1])
redis.pcall('HSET', KEYS[1], ARGV[3], ARGV[4])
redis.pcall('HDEL', KEYS[1], ARGV[2])
return 1
""")
"""KEYS job hash, dead list; ARGV job ID, ``_worker``, field, value → 1 buried, without its mark."""

REJECT = Script.of("""\
if not redis.call('LPOS', KEYS[1], ARGV[1]) then return 0 end
redis.call('LPUSH', KEYS[2], ARGV[2])
redis.call('LREM', KEYS[1], 1, ARGV[1])
if KEYS[3] and redis.call('TYPE', KEYS[3]).ok == 'hash' then
  if redis.call('HEXISTS', KEYS[3], 'result') == 0 then redis.call('HSET', KEYS[3], 'result', ARGV[4]) end
  redis.call('PUBLISH', ARGV[3], ARGV[1])
end
return 1
""")
"""KEYS processing list, list of rejected ones, job hash (only where its client is told); ARGV entry, record, channel,
result → 1 set aside, 0 given away meanwhile."""

TELL_REJECTED = Script.of("""\
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then return 1 end
if redis.call('HEXISTS', KEYS[1], 'result') == 0 then redis.call('HSET', KEYS[1], 'result', ARGV[3]) end
redis.call('PUBLISH', ARGV[2], ARGV[1])
return 1
""")
"""KEYS job hash; ARGV job ID, channel, result → 1. A result that is there already stays."""

FORGET_DUPLICATE = Script.of("""\
if #redis.call('LPOS', KEYS[1], ARGV[1], 'COUNT', 2) < 2 then return 0 end
return redis.call('LREM', KEYS[1], 1, ARGV[1])
""")
"""KEYS own list; ARGV job ID → 1 dropped, 0 it is the only one: the first was given away, and came back to us."""

EXPIRE_UNHEARD = Script.of("""\
if redis.call('PUBSUB', 'NUMSUB', ARGV[1])[2] > 0 then return 0 end
if redis.call('HEXISTS', KEYS[1], 'result') == 0 then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
""")
"""KEYS job hash; ARGV channel, milliseconds → 1 the hash goes by then: it holds a result, and nobody listens for it."""

DELETE_GHOST = Script.of("""\
local mark = {}
for _, field in ipairs(ARGV) do mark[field] = true end
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if not mark[field] then return 0 end
end
return redis.call('DEL', KEYS[1])
""")
"""KEYS job hash; ARGV the fields that a worker writes beside a submission → 1 where these were all there was."""

NOTE = Script.of("""\
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
""")
"""KEYS job hash; ARGV field, value … → 1 written, 0 there is no such hash, and none is made."""

_WRITES_FIRST = b"redis.pcall('SREM', KEYS[1], '')\n"
_ONE_COMMAND = Script.of("""\
redis.pcall('SREM', KEYS[1], '')
local call = {ARGV[1], unpack(KEYS)}
for at = 2, #ARGV do call[#call + 1] = ARGV[at] end
return redis.call(unpack(call))
""")
"""KEYS of a command; ARGV its name, the arguments behind its keys → as the command answers."""
_NEED_MEMORY = {b"HINCRBY": 1, b"HMSET": 1, b"HSET": 1, b"LPUSH": 1, b"RPOPLPUSH": 2, b"RPUSH": 1}
"""Commands that a server at its ``maxmemory`` refuses (``denyoom``), and how many keys they begin with."""


def is_out_of_memory(reply: Reply) -> bool:
    """Return whether a command was refused because the server is at its ``maxmemory``."""
    return isinstance(reply, ServerError) and (
        reply.code == "OOM" or (reply.code == "EXECABORT" and ": OOM " in str(reply))
    )


def insist(commands: tuple[Command, ...]) -> tuple[Command, ...]:
    """Return ``commands`` in a form that a server at its ``maxmemory`` does not refuse, to work off a backlog.

    Redis refuses a write that may need memory (flag ``denyoom``), in a script as well, but only as the first write of
    the script: so each becomes a script that first makes one that never needs any, and that changes nothing. A
    transaction, which Redis up to 7.0 refuses whole, becomes its commands, one by one.
    """
    return tuple(_insisting(command) for command in commands if command[0] not in (b"MULTI", b"EXEC"))


def _insisting(command: Command) -> Command:
    name, *args = command
    keys = _NEED_MEMORY.get(name)
    if keys is not None:
        return _ONE_COMMAND.call_whole(tuple(args[:keys]), name, *args[keys:])
    source = args[0] if name == b"EVAL" else _SOURCES.get(args[0]) if name == b"EVALSHA" else None
    return command if source is None else (b"EVAL", _WRITES_FIRST + source, *args[1:])
