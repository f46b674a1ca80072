"""A worker for the Redis queue of Perl's Job::Async (mode `reliable`, dialect 0.004), on redis-py. It is no client.

A text is `bytes`; an array or object is a `list` or `dict`, read and written as JSON. Each slot has a thread.
"""

import base64
import hashlib
import json
import os
import signal
import sys
import threading
import time
import uuid

import redis

# From 6 on redis-py says a command again whose reply was lost: a pop then takes two jobs, and gives one of them.
ONCE = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
# Claim what is there and no more: what is not claimed is not asked for.
HELLO = {"driver": 1, "name": "example-python", "version": "1", "language": "Python", "runtime": sys.version.split()[0]}
HELLO |= {"roles": ["worker"], "modes": ["reliable"], "dialects": ["0.004"], "codecs": ["json"]}
HELLO |= {"behaviours": ["queue-names", "reconnect", "stop-drains"]}


def say(kind, **fields):
    sys.stdout.write(json.dumps({"type": kind, **fields}) + "\n")  # in one write: the threads share it
    sys.stdout.flush()


# For the runner: bytes that are no UTF-8 are no text, and numbers beyond 2^53 are not safe in JSON.
def tag(value):
    if isinstance(value, bytes):
        found = value.decode(errors="replace")
        return found if found.encode() == value else {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, float) or (isinstance(value, int) and abs(value) > 2**53):
        return {"$float" if isinstance(value, float) else "$int": str(value)}
    if isinstance(value, dict):
        return {"$map": [[tag(name), tag(item)] for name, item in value.items()]}
    return [tag(item) for item in value] if isinstance(value, list) else value


def document(data):
    found = json.loads(data.decode("utf-8-sig"))
    if not isinstance(found, list | dict):
        raise TypeError("JSON that is neither an array nor an object")
    return found


def parameters(fields):
    found = {}
    for name, value in fields.items():
        kind, _, rest = name.partition(b"_")
        if name.startswith((b"_", b"text_", b"json_")):
            found[rest if kind else name] = document(value) if kind == b"json" else value
        elif b"a" <= name[:1] <= b"z":
            raise ValueError(f"cannot read {name!r}")
    return found


# `J` and JSON for arrays and objects, `T` and text for the rest: numbers as Perl prints them, None as nothing.
def result_of(value):
    if isinstance(value, list | dict):
        return b"J" + json.dumps(value).encode()
    if isinstance(value, float):
        return b"T%.15g" % value
    return b"T" + (value if isinstance(value, bytes) else b"" if value is None else str(value).encode())


class Worker:
    def __init__(self, start):
        prefix = f"{start['prefix']}::" if start["prefix"] else ""  # queues have it, job hashes never
        self.pending = prefix + start["queues"][0]
        self.processing = prefix + (start.get("processing_queue") or "processing")
        self.multi, self.wait = start["use_multi"], start.get("job_poll_interval") or 3
        self.redis, self.stopping = redis.Redis.from_url(start["redis"], retry=ONCE), threading.Event()
        self.running, self.lock, count = set(), threading.Lock(), start["max_concurrent_jobs"]
        if len(start["queues"]) > 1:
            raise ValueError("Only a single queue is supported in reliable mode")
        if count < 1 or self.wait < 0:
            raise ValueError("max_concurrent_jobs or job_poll_interval is too small")
        popping = threading.Barrier(count + 1)  # ready is who pops, not who is about to connect
        told = {"target": self.slot, "args": (start["redis"], popping), "daemon": True}
        self.slots = [threading.Thread(**told) for _ in range(count)]
        for slot in self.slots:
            slot.start()
        popping.wait(10)

    def slot(self, url, popping):
        pop = redis.Redis.from_url(url, socket_timeout=None, retry=ONCE)  # it blocks, so it has a connection of its own
        pop.ping()
        popping.wait(10)
        while not self.stopping.is_set():
            try:
                job_id = pop.brpoplpush(self.pending, self.processing, self.wait)
                if job_id is not None:
                    self.take(job_id)
            except Exception as error:  # as in Perl, the ID of a failed job stays in processing, and nobody is told
                print(repr(error), file=sys.stderr, flush=True)
                time.sleep(1 if isinstance(error, redis.RedisError) else 0)  # no flood where Redis is the trouble

    def take(self, job_id):
        with self.lock:
            twice = job_id in self.running or not job_id
            self.running.add(job_id)
        if twice:  # it stood twice in the queue, or is no ID
            return self.redis.lrem(self.processing, 1, job_id)
        try:
            return self.run(job_id, b"job::" + job_id)
        finally:
            self.running.discard(job_id)

    def run(self, job_id, key):
        fields, end = self.redis.hgetall(key), self.redis.pipeline(transaction=self.multi)
        if fields.keys() <= {b"_started"}:  # no job: its client has collected it long ago
            return end.delete(key).lrem(self.processing, 1, job_id).execute()
        if b"result" not in fields:  # else it was done before: tell, do not run it again
            data = parameters(fields)
            self.redis.execute_command("HMSET", key, "_started", round(time.time(), 5))
            say("job", id=tag(job_id), data=tag(data))
            result = result_of(OPERATIONS[data.get(b"op", b"rpc" if b"params" in data else b"keys")](data))
            end.execute_command("HMSET", key, "_processed", round(time.time(), 5), "result", result)
        # The result, then the notice, then the removal: whoever dies in between, nothing is lost.
        end.publish(b"client::" + fields.get(b"_reply_to", b""), job_id)
        return end.lrem(self.processing, 1, job_id).execute()

    def stop(self):
        self.stopping.set()
        for slot in self.slots:
            slot.join()


def number(digits):
    return int(digits) if digits.lstrip(b"-").isdigit() else float(digits)


def fail(data):
    raise RuntimeError(data.get(b"message", b"failed").decode())


def rpc(data):  # as the public websocket backend has it: JSON text in, JSON text out
    return json.dumps({"result": {"name": data[b"name"].decode(), "params": json.loads(data[b"params"])}})


# What the parameter `op` makes a worker do. A job without it is answered with its names.
OPERATIONS = {
    b"echo": lambda d: d.get(b"value"), b"reverse": lambda d: d[b"value"][::-1], b"length": lambda d: len(d[b"value"]),
    b"add": lambda d: number(d[b"first"]) + number(d[b"second"]), b"number": lambda d: number(d[b"value"]),
    b"sleep": lambda d: time.sleep(float(d[b"seconds"])) or d.get(b"value", b"slept"), b"rpc": rpc,
    b"json": lambda d: document(d[b"value"]), b"sha256": lambda d: hashlib.sha256(d[b"value"]).hexdigest(),
    b"big": lambda d: d.get(b"char", b"x") * int(d[b"size"]), b"exit": lambda d: os._exit(int(d.get(b"code", 3))),
    b"keys": lambda d: [name.decode() for name in sorted(d) if name != b"op" and not name.startswith(b"_")],
    b"nest": lambda d: json.loads(f'{"[" * int(d[b"depth"])}"end"{"]" * int(d[b"depth"])}'),
    b"get": lambda d: d.get(d[b"name"]), b"true": lambda _: 1, b"several": lambda _: "one", b"wide": lambda _: "☺",
    b"latin1": lambda _: b"\xe9", b"fail": fail, b"die": fail,
    **dict.fromkeys((b"false", b"empty", b"undef", b"nothing"), lambda _: None),
}  # fmt: skip


def main():
    worker = None

    def leave(*_):
        if worker:
            worker.stop()
        os._exit(0)

    signal.signal(signal.SIGTERM, leave)
    for line in sys.stdin.buffer:
        message = json.loads(line)
        try:
            match message["type"]:
                case "hello":
                    say("hello", **HELLO)
                case "start" if message["role"] == "worker":
                    worker = Worker(message)
                    say("ready", worker_id=message.get("id") or str(uuid.uuid4()))
                case "stop" if worker:
                    worker.stop()
                    say("stopped")
                case "bye":
                    break
                case what:
                    say("unsupported", what=what, seq=message.get("seq"))
        except ValueError as error:
            say("error", message=str(error))
    leave()


main()
