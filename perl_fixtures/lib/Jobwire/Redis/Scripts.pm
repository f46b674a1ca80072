package Jobwire::Redis::Scripts;

use strict;
use warnings;

use Digest::SHA qw(sha1_hex);
use Exporter qw(import);
use Future;

our @EXPORT_OK = qw(run_script %SCRIPT);

=encoding utf8

=head1 NAME

Jobwire::Redis::Scripts - Lua that Redis runs where several commands must be one step

=head1 DESCRIPTION

The same texts, byte for byte, as in C<jobwire.wire> of the Python side: so the same SHA-1, and the same meaning for whoever
watches the wire. The comments there say what each takes and answers.

=head2 run_script

 run_script($redis, complete => [@keys], @arguments)

Calls a script by its SHA-1, and with its source where the server does not know it. A L<Future> of the answer.

=cut

our %SCRIPT = (
    complete => <<'LUA',
local call, job, given = redis.call, KEYS[2], ARGV
if call('LREM', KEYS[1], -1, given[1]) == 0 then return 0 end
if given[4] then
  call('HSET', job, 'result', given[3], '_started', given[4], '_processed', given[5])
else
  call('HSET', job, 'result', given[3])
end
return 1 + call('PUBLISH', given[2], given[1])
LUA
    bury => <<'LUA',
if not redis.call('LPOS', KEYS[1], ARGV[1]) then return 0 end
redis.call('HMSET', KEYS[2], ARGV[2], ARGV[3])
redis.call('LPUSH', KEYS[3], ARGV[1])
redis.call('LREM', KEYS[1], 1, ARGV[1])
return 1
LUA
    bury_marked => <<'LUA',
redis.call('LPUSH', KEYS[2], ARGV[1])
redis.pcall('HSET', KEYS[1], ARGV[3], ARGV[4])
redis.pcall('HDEL', KEYS[1], ARGV[2])
return 1
LUA
    reject => <<'LUA',
if not redis.call('LPOS', KEYS[1], ARGV[1]) then return 0 end
redis.call('LPUSH', KEYS[2], ARGV[2])
redis.call('LREM', KEYS[1], 1, ARGV[1])
if KEYS[3] and redis.call('TYPE', KEYS[3]).ok == 'hash' then
  if redis.call('HEXISTS', KEYS[3], 'result') == 0 then redis.call('HSET', KEYS[3], 'result', ARGV[4]) end
  redis.call('PUBLISH', ARGV[3], ARGV[1])
end
return 1
LUA
    give_back => <<'LUA',
if not redis.call('LPOS', KEYS[1], ARGV[1]) then return 0 end
redis.call('RPUSH', KEYS[2], ARGV[1])
redis.call('LREM', KEYS[1], 1, ARGV[1])
return 1
LUA
    forget_duplicate => <<'LUA',
if #redis.call('LPOS', KEYS[1], ARGV[1], 'COUNT', 2) < 2 then return 0 end
return redis.call('LREM', KEYS[1], 1, ARGV[1])
LUA
    delete_ghost => <<'LUA',
local mark = {}
for _, field in ipairs(ARGV) do mark[field] = true end
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if not mark[field] then return 0 end
end
return redis.call('DEL', KEYS[1])
LUA
    claim => <<'LUA',
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
local new = redis.call('SADD', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[4])
if held then return 1 end
redis.call('HDEL', KEYS[4], ARGV[1])
return new == 1 and 2 or 3
LUA
    release => <<'LUA',
if redis.call('GET', KEYS[1]) ~= ARGV[2] then return 0 end
redis.call('DEL', KEYS[1])
if ARGV[3] == '0' and redis.call('EXISTS', KEYS[5]) == 0 then
  redis.call('SREM', KEYS[2], ARGV[1])
  redis.call('HDEL', KEYS[3], ARGV[1])
end
return 1
LUA
    return_newest => <<'LUA',
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[5] then return 0 end
local id = redis.call('LINDEX', KEYS[2], 0)
if not id then return 0 end
local had = redis.pcall('HGET', KEYS[4], id)
local losses = tonumber(type(had) == 'string' and string.match(had, '^%d+$') or 0) + 1
if losses >= tonumber(ARGV[1]) then
  redis.call('LMOVE', KEYS[2], KEYS[5], 'LEFT', 'LEFT')
  redis.pcall('HDEL', KEYS[4], id)
  local job = ARGV[3] ~= '' and ARGV[3] .. id
  if job and redis.call('TYPE', job).ok == 'hash' then redis.call('HSET', job, ARGV[4], ARGV[2]) end
  return {id, 'dead'}
end
redis.call('LMOVE', KEYS[2], KEYS[3], 'LEFT', 'RIGHT')
redis.pcall('HSET', KEYS[4], id, losses)
return {id, 'returned'}
LUA
);

my %sha = map { $_ => sha1_hex($SCRIPT{$_}) } keys %SCRIPT;

sub run_script {
    my ($redis, $name, $keys, @arguments) = @_;
    my @rest = (scalar @$keys, @$keys, @arguments);
    return $redis->evalsha($sha{$name}, @rest)->else(sub {
        my ($why, @details) = @_;
        return $why =~ /NOSCRIPT/ ? $redis->eval($SCRIPT{$name}, @rest) : Future->fail($why, @details);
    });
}

1;
