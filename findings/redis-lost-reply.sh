#!/usr/bin/env bash
# A client whose reply is lost does the command a second time, or fails, or says nothing: it depends on the library, on
# its major release, and on whether the command came alone.
#
# Versions: redis 5.3.1 and 8.1.0 (redis-py), valkey 6.1.1 (valkey-py), Redis 2.000 and Redis::Fast 0.34 (Perl), Redis
#   7.0.15 (all of Debian 12). A relay passes the first of the commands to the server and cuts the client's connection
#   in place of the reply.
# Expected: whoever cannot know whether an LPUSH was done raises an error; only what is harmless to repeat is repeated.
# Seen: so do redis-py 5.3.1, valkey-py and Perl's Redis, even with reconnect. redis-py 8.1.0 says the command again and
#   returns as if nothing were: two entries pushed, two popped and the first of them lost, a counter at 2, a whole
#   MULTI ... EXEC and a script done twice. Redis::Fast does so with reconnect, but not in MULTI; of pipelined commands
#   whose replies are lost it says nothing with or without it: wait_all_responses returns.
. "$(dirname "$0")/lib/finding.bash"
with_debian bookworm perl=5.36.0-7+deb12u3 libredis-perl=2:2.000-1 libredis-fast-perl=0.34+dfsg-1+b1
with_server 7.0
cat >"$scratch/relay.py" <<'PYTHON'
import socket
import sys
import threading
listen, server, command = sys.argv[1], sys.argv[2], sys.argv[3].encode()
first = threading.Lock()
def replies(upstream, client, cut):
    while data := upstream.recv(65536):
        if cut.is_set():
            client.shutdown(socket.SHUT_RDWR)
            return
        client.sendall(data)
def serve(client):
    upstream, cut = socket.socket(socket.AF_UNIX), threading.Event()
    upstream.connect(server)
    threading.Thread(target=replies, args=(upstream, client, cut), daemon=True).start()
    try:
        while data := client.recv(65536):
            if command in data.upper() and first.acquire(blocking=False):
                cut.set()
            upstream.sendall(data)
    except OSError:
        pass
door = socket.socket(socket.AF_UNIX)
door.bind(listen)
door.listen()
print("ready", flush=True)
while True:
    threading.Thread(target=serve, args=(door.accept()[0],), daemon=True).start()
PYTHON
cat >"$scratch/trials.py" <<'PYTHON'
import importlib
import os
import subprocess
import sys
library, server, relay = sys.argv[1:]
module = importlib.import_module(library)
connect = getattr(module, library.capitalize())
direct = connect(unix_socket_path=server)
for number, (text, command, call) in enumerate((
    ("lpush", "LPUSH", lambda r: r.lpush("q", "new")),
    ("brpop", "BRPOP", lambda r: r.brpop("q", 1)),
    ("incr", "INCR", lambda r: r.incr("n")),
    ("MULTI", "EXEC", lambda r: r.pipeline().lpush("q", "x").lpush("q", "y").execute()),
    ("script", "EVAL", lambda r: r.eval("return redis.call('LPUSH', KEYS[1], 'e')", 1, "q")),
)):
    direct.flushall()
    direct.rpush("q", "a", "b", "c")
    path = f"{server}-{library}-{os.getpid()}-{number}"
    process = subprocess.Popen([sys.executable, relay, path, server, command], stdout=subprocess.PIPE)
    process.stdout.readline()
    try:
        answer = call(connect(unix_socket_path=path))
    except Exception as error:
        answer = type(error).__name__
    process.kill()
    print(f"{text}: {answer} | {b' '.join(direct.lrange('q', 0, -1)).decode()}, n {(direct.get('n') or b'-').decode()}")
PYTHON
cat >"$scratch/trials.pl" <<'PERL'
use strict; use warnings; $| = 1;
my ($class, $server, $relay) = @ARGV;
eval "require $class" or die $@;
my $direct = $class->new(sock => $server);
my $number = 0;
for my $options ([], [reconnect => 2]) {
    for ([lpush => LPUSH => sub { $_[0]->lpush(q => 'new') }], [brpop => BRPOP => sub { $_[0]->brpop('q', 1) }],
        [MULTI => EXEC => sub { $_[0]->multi; $_[0]->lpush(q => 'x'); $_[0]->exec }],
        [pipelined => LPUSH => sub { $_[0]->lpush(q => $_, sub { }) for 'x', 'y'; $_[0]->wait_all_responses; 'waited' }]
    ) {
        my ($text, $command, $call) = @$_;
        $direct->flushall; $direct->rpush(q => 'a', 'b', 'c');
        my $path = "$server-$$-" . $number++;
        my $child = open my $ready, '-|', 'python3', $relay, $path, $server, $command; <$ready>;
        my @answer = eval { $call->($class->new(sock => $path, @$options)) };
        @answer = ('died') if $@;
        kill KILL => $child; close $ready;
        print join(' ', $text, @$options), ": @answer | ", join(' ', $direct->lrange('q', 0, -1)), "\n";
    }
}
PERL
in_python() { # NAME OF THE TRIAL, LIBRARY
  echo "-- $1" >>"$scratch/out"
  "$python" "$scratch/trials.py" "$2" "$scratch/7.0" "$scratch/relay.py" >>"$scratch/out"
  rm -rf "$scratch/python"
}
with_python valkey==6.1.1
in_python valkey-py valkey
with_python redis==5.3.1
in_python "redis-py 5" redis
with_python redis==8.1.0
in_python "redis-py 8" redis
for class in Redis Redis::Fast; do
  echo "-- Perl's $class"
  perl_of bookworm "$scratch/trials.pl" "$class" "$scratch/7.0" "$scratch/relay.py" 2>"$scratch/log"
done >>"$scratch/out"
seen "$scratch/out" <<'RECORDED'
-- valkey-py
lpush: ConnectionError | new a b c, n -
brpop: ConnectionError | a b, n -
incr: ConnectionError | a b c, n 1
MULTI: ConnectionError | y x a b c, n -
script: ConnectionError | e a b c, n -
-- redis-py 5
lpush: ConnectionError | new a b c, n -
brpop: ConnectionError | a b, n -
incr: ConnectionError | a b c, n 1
MULTI: ConnectionError | y x a b c, n -
script: ConnectionError | e a b c, n -
-- redis-py 8
lpush: 5 | new new a b c, n -
brpop: (b'q', b'b') | a, n -
incr: 2 | a b c, n 2
MULTI: [6, 7] | y x y x a b c, n -
script: 5 | e e a b c, n -
-- Perl's Redis
lpush: died | new a b c
brpop: died | a b
MULTI: died | x a b c
pipelined: died | y x a b c
lpush reconnect 2: died | new a b c
brpop reconnect 2: died | a b
MULTI reconnect 2: died | x a b c
pipelined reconnect 2: died | y x a b c
-- Perl's Redis::Fast
lpush: died | new a b c
brpop: died | a b
MULTI: died | x a b c
pipelined: waited | y x a b c
lpush reconnect 2: 5 | new new a b c
brpop reconnect 2: q b | a
MULTI reconnect 2: died | x a b c
pipelined reconnect 2: waited | y x a b c
RECORDED
