// A client or a worker for the Redis queues of Perl's Job::Async (mode `reliable`, dialect 0.004). The wire is bytes:
// a string of it has one character for each. An array or object is a Doc, its JSON: numbers would round beyond 2^53.
import { createHash, randomUUID } from 'node:crypto';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
const HELLO = { driver: 1, // claim what is there and no more: what is not claimed is not asked for
  name: 'example-node', version: '1', language: 'JavaScript', runtime: `node ${process.version}`, codecs: ['json'],
  roles: ['client', 'worker'], modes: ['reliable'], dialects: ['0.004'], behaviours: ['queue-names', 'stop-drains'] };
class Unsupported extends Error {} // "I cannot do that" is an answer of its own; whatever else is thrown is an error
const say = (type, fields) => process.stdout.write(`${JSON.stringify({ ...fields, type })}\n`);
const now = () => (Date.now() / 1000).toFixed(3);
const under = (prefix, queue) => bytes(prefix === '' ? queue : `${prefix}::${queue}`); // job hashes have no prefix
function parse(input, at = 0) { // one RESP2 reply and where the next begins; undefined while bytes are missing
  const end = input.indexOf('\r\n', at), kind = input[at], line = input.slice(at + 1, end), next = end + 2;
  if (end < 0 || (kind === '$' && input.length < next + +line + 2 && line !== '-1')) return undefined;
  if (line === '-1') return [null, next]; // `$-1`, and `*-1`, which ends a pop that found nothing
  if (kind === '$') return [input.slice(next, next + +line), next + +line + 2];
  if (kind !== '*') return [kind === '-' ? new Error(line) : line, next];
  for (let items = [], item = [null, next]; ; items.push(item[0])) {
    if (items.length === +line) return [items, item[1]];
    if (!(item = parse(input, item[1]))) return undefined;
  }
}
function redis(url, onMessage, input = '') { // a connection: (multi, ...commands) => replies, in their order
  const { hostname: host, port, password, pathname } = new URL(url), asked = [];
  if (password || pathname.length > 1) throw new Unsupported('a password or a database number');
  const lost = (error) => (console.error('lost Redis', error), process.exit(1)); // `reconnect` is not claimed
  const socket = connect({ host, port: port || 6379, noDelay: true }).on('error', lost).on('close', lost);
  socket.setEncoding('latin1').on('data', (chunk) => {
    input += chunk;
    for (let found; (found = parse(input)); input = input.slice(found[1]))
      (onMessage && found[0][0] === 'message' ? onMessage : asked.shift())(found[0]);
  });
  return async (multi, ...commands) => { // all in one write; with `multi` inside MULTI … EXEC
    const sent = multi ? [['MULTI'], ...commands, ['EXEC']] : commands, bulk = (w) => `$${w.length}\r\n${w}\r\n`;
    socket.write(sent.map((words) => `*${words.length}\r\n${words.map(bulk).join('')}`).join(''), 'latin1');
    const replies = await Promise.all(sent.map(() => new Promise((done) => asked.push(done))));
    for (const reply of replies.flat()) if (reply instanceof Error) throw reply; // it can stand inside EXEC's reply
    return replies;
  };
}

class Doc { constructor(json) { this.json = json; } }
const bytes = (text) => Buffer.from(text).toString('latin1');
const text = (data, found = Buffer.from(data, 'latin1').toString()) => (bytes(found) === data ? found : undefined);
function doc(data, json = text(data)?.replace(/^\uFEFF/, '') ?? '', names = 1) {
  for (const [token] of json.matchAll(/"(?:[^"\\]|\\.)*"\s*:?/g)) names += token.endsWith(':'); // as written
  JSON.parse(json, function forget(_, value) { names -= !Array.isArray(this); return value; }); // as understood
  if (/^\s*[[{]/.test(json) && names === 0) return new Doc(bytes(json));
  throw new Error('not the JSON of an array or object, or a name stands in it twice');
}
function numeral(digits) { // as Perl prints numbers: integers exactly, others by %.15g
  if (/^-?\d+$/.test(digits) || !Number.isFinite(+digits)) return `${digits}`.replace('inity', '');
  const [first, power] = (+digits).toExponential(14).split('e'), plain = power >= -4 && power < 15;
  return plain ? `${+(+digits).toPrecision(15)}` : `${+first}e${power.replace(/^(\D)(\d)$/, '$10$2')}`;
}
function untag(value) { // tagged JSON, as the runner speaks, to bytes or a Doc
  if (typeof value === 'string') return bytes(value);
  if (value?.$bytes !== undefined) return Buffer.from(value.$bytes, 'base64').toString('latin1');
  const json = JSON.stringify(value).replace(/\{"\$(?:int|float)":"([^"]+)"\}/g, '$1'); // digits are JSON's numbers
  if (/^(null|true|false)$|\{"\$/.test(json)) throw new Unsupported('null, booleans, and tags inside JSON');
  return /^[[{]/.test(json) ? doc(bytes(json)) : numeral(json);
}
function tag(value) { // … and back
  if (!(value instanceof Doc)) return text(value) ?? { $bytes: Buffer.from(value, 'latin1').toString('base64') };
  return JSON.parse(text(value.json).replace(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g, (token) =>
    (token[0] === '"' ? token : `{"$${/[.e]/i.test(token) ? 'float' : 'int'}":"${token}"}`)));
}

async function client({ redis: url, use_multi: multi, prefix, queue, id: wanted }) {
  const me = bytes(wanted ?? randomUUID()), ask = redis(url), waiting = new Map();
  async function collect([, , id]) {
    const key = `job::${id}`, about = { seq: waiting.get(id), id: tag(id) };
    const [[result], exists] = await ask(false, ['HMGET', key, 'result'], ['EXISTS', key]);
    if ((!result && exists === '1') || !waiting.delete(id)) return; // no result yet, or a job that is not ours
    try {
      if (!/^[TJ]/.test(result)) throw new Error(result ? `unknown tag ${result[0]}` : 'lost: the hash is gone');
      const value = tag(result[0] === 'J' ? doc(result.slice(1)) : result.slice(1));
      await ask(false, ['DEL', key]).then(() => say('result', { ...about, value }));
    } catch (error) { say('failed', { ...about, error: error.message }); } // the hash stays, to be looked at
  }
  async function submit({ seq, data }) {
    const id = randomUUID(), key = `job::${id}`, fields = ['_reply_to', me, '_queued', now()];
    for (const [name, value] of (data.$map ?? Object.entries(data)).map((pair) => pair.map(untag))) {
      if (/\n|^_(reply_to|queued|started|processed)$/.test(name)) throw new Error(`${name}: reserved, or a line feed`);
      fields.push(value.json ? `json_${name}` : `text_${name}`, value.json ?? value);
    }
    waiting.set(id, seq); // before it is written: the notice may be quick
    await ask(multi, ['HMSET', key, ...fields], ['LPUSH', under(prefix, queue), id]).then(
      () => say('submitted', { seq, id }),
      (error) => ask(false, ['DEL', key]).then(() => say('failed', { seq, id, error: error.message }))); // no orphans
  }
  await redis(url, collect)(false, ['SUBSCRIBE', `client::${me}`]); // before anything is submitted: results are quick
  return { client_id: tag(me), submit };
}
function worker({ redis: url, use_multi: multi, prefix, queues, max_concurrent_jobs: slots, ...start }) {
  if (queues.length > 1) throw new Error('Only a single queue is supported in reliable mode');
  if (slots < 1 || start.job_poll_interval < 0) throw new Error('max_concurrent_jobs or job_poll_interval too small');
  const taken = under(prefix, start.processing_queue ?? 'processing'), running = new Map(), ask = redis(url);
  const pop = redis(url), take = ['BRPOPLPUSH', under(prefix, queues[0]), taken, `${start.job_poll_interval ?? 3}`];
  async function run(id) {
    const key = `job::${id}`, [flat] = await ask(false, ['HGETALL', key]), hash = {}, data = {};
    while (flat.length) hash[flat.shift()] = flat.shift();
    const remove = ['LREM', taken, '1', id], notice = ['PUBLISH', `client::${hash._reply_to ?? ''}`, id];
    if (hash.result) return ask(multi, notice, remove); // done before: tell, do not run again
    if (Object.keys(hash).every((field) => field === '_started')) return ask(multi, ['DEL', key], remove); // no job
    for (const [field, value] of Object.entries(hash)) {
      const [, type, name] = /^(text_|json_|_)(.*)/s.exec(field) ?? [];
      if (!type && /^[a-z]/.test(field)) throw new Error(`cannot read ${field}`); // the ID stays where it is
      if (type) data[type === '_' ? field : name] = type === 'json_' ? doc(value) : value;
    }
    await ask(false, ['HMSET', key, '_started', now()]);
    say('job', { id: tag(id), data: { $map: Object.entries(data).map((pair) => pair.map(tag)) } });
    const done = await OPERATIONS[data.op ?? (data.params ? 'rpc' : 'keys')](data) ?? '';
    const result = done.json ? `J${done.json}` : `T${done}`;
    return ask(multi, ['HMSET', key, '_processed', now(), 'result', result], notice, remove); // in this order
  }
  async function next() {
    const [id] = await pop(false, take).catch((error) => (console.error(error), pause(1000, []))); // no flood
    if (id === '' || running.has(id)) await ask(false, ['LREM', taken, '1', id]); // no ID, or in the queue twice
    else if (id) running.set(id, run(id).catch(console.error).finally(() => running.delete(id)));
  }
  const ended = (async () => {
    while (slots) await (running.size < slots ? next() : Promise.race(running.values()));
    await Promise.all(running.values());
  })();
  return { worker_id: start.id ?? randomUUID(), stop: () => ((slots = 0), ended) };
}
const OPERATIONS = { // what the parameter `op` makes a worker do; a job without it is answered with its names
  echo: (d) => d.value, reverse: (d) => [...d.value].reverse().join(''), add: (d) => numeral(+d.first + +d.second),
  sleep: async (d) => (await pause(d.seconds * 1000), d.value ?? 'slept'), number: (d) => numeral(d.value),
  json: (d) => doc(d.value), several: () => 'one', big: (d) => (d.char ?? 'x').repeat(d.size), true: () => '1',
  false: () => '', empty: () => '', undef: () => null, nothing: () => undefined, length: (d) => `${d.value.length}`,
  sha256: (d) => createHash('sha256').update(d.value, 'latin1').digest('hex'), get: (d) => d[d.name],
  keys: (d) => doc(JSON.stringify(Object.keys(d).filter((name) => name !== 'op' && name[0] !== '_').sort())),
  nest: (d) => doc(`${'['.repeat(d.depth)}"end"${']'.repeat(d.depth)}`), wide: () => bytes('☺'), latin1: () => '\xe9',
  fail: (d) => { throw new Error(d.message); }, die: (d) => OPERATIONS.fail(d), exit: (d) => process.exit(d.code ?? 3),
  rpc: (d) => `{"result":{"name":${JSON.stringify(d.name)},"params":${d.params}}}` }; // of the public websocket backend
const ON = { // the driver protocol
  hello: () => say('hello', HELLO), submit: (message) => ON.role.submit(message), bye: () => process.exit(0),
  start: async (message) => say('ready', (ON.role = await { client, worker }[message.role](message))),
  stop: async () => { await ON.role?.stop?.(); say('stopped'); } };
async function handle({ type, ...message }) {
  const cannot = () => { throw new Unsupported(`message ${type}`); };
  await (async () => (ON[type] ?? cannot)(message))().catch(({ constructor, message: what }) =>
    say(constructor === Unsupported ? 'unsupported' : 'error', { seq: message.seq, what, message: what }));
}
createInterface({ input: process.stdin }).on('line', (line) => handle(JSON.parse(line))).on('close', ON.bye);
process.on('SIGTERM', () => ON.stop().then(ON.bye));
