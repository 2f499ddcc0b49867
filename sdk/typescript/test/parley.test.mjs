// The client drives a live server: PARLEY is where it is, ADMIN_KEY an admin's key. `make sdk-check`
// starts one and runs this.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Parley, DisconnectedError, FrameError, ProblemError } from 'parley-client';
import WebSocket from 'ws';
import { breaking } from './breaking.mjs';

const baseUrl = process.env.PARLEY;
const admin = new Parley({ baseUrl, token: process.env.ADMIN_KEY });
const WORDS = Array.from({ length: 40 }, (_, i) => `word ${i} é好🙂 `);
const run = Date.now().toString(36);
const bot = `sdk-${run}`;
let parley;

/** A key of a user of its own, whose limits are its own too. */
async function keyOf(user) {
  const { data } = await admin.api.POST('/api/api-keys/', { body: { name: user, user, scopes: ['chat'] } });
  return data.key;
}

before(async () => {
  for (const [slug, script] of [
    [bot, { rules: [{ deltas: WORDS, delayMs: 20 }] }],
    [`${bot}-broken`, { rules: [{ deltas: ['One ', 'two'], failAfter: 1 }] }],
  ]) {
    await admin.api.POST('/api/chatbots/', { body: { name: slug, slug, engine: 'scripted', script } });
  }
  parley = new Parley({ baseUrl, token: await keyOf(`alice-${run}`) });
});

test('an operation is typed, and what is refused is a problem', async () => {
  const { data } = await parley.api.GET('/api/me/');
  assert.equal(data.user.name, `alice-${run}`);
  await assert.rejects(parley.api.GET('/api/conversations/{id}/', { params: { path: { id: 'nothing' } } }), failure => {
    assert.ok(failure instanceof ProblemError);
    assert.equal(failure.code, 'not_found');
    assert.equal(failure.status, 404);
    assert.ok(failure.problem.request_id);
    return true;
  });
});

test('a reply is streamed, and is what is stored', async () => {
  const reply = parley.complete(bot, 'Speak.');
  const deltas = [];
  let last;
  for await (const event of reply) {
    deltas.push(event.content);
    last = event;
  }
  assert.ok(deltas.length > 2);
  assert.equal(deltas.join(''), WORDS.join(''));
  assert.equal(reply.text, WORDS.join(''));
  assert.equal(last.finishReason, 'stop');
  const { data } = await parley.api.GET('/api/messages/{id}/', { params: { path: { id: last.messageId } } });
  assert.equal(data.content, reply.text);
});

test('a stream that is cut in its middle, again and again, gives the text whole and once', async () => {
  // The first is cut before its first byte, the second in its headers, the others in an event.
  const proxy = await breaking(new URL(baseUrl), [0, 100, 1200, 900, 1500]);
  try {
    const key = await keyOf(`bob-${run}`);
    const reply = new Parley({ baseUrl: proxy.baseUrl, token: key }).complete(bot, 'Speak.');
    let text = '';
    for await (const event of reply) text = event.reset ? event.content : text + event.content;
    assert.equal(proxy.made, 5);
    assert.equal(text, WORDS.join(''));
    assert.equal(reply.text, text);
    // and it was asked once, although the first request's answer was lost
    const { data } = await new Parley({ baseUrl, token: key }).api.GET('/api/conversations', { params: { query: {} } });
    assert.equal(data.total, 1);
  } finally {
    proxy.close();
  }
});

test('a run can be followed from an event on', async () => {
  const reply = parley.complete(bot, 'Speak.');
  let from;
  for await (const _ of reply) {
    from = { text: reply.text, id: reply.lastEventId };
    break;
  }
  const rest = parley.follow(reply.runId, { after: from.id });
  const last = await rest.finished();
  assert.equal(from.text + rest.text, WORDS.join(''));
  assert.equal(last.done, true);
  const whole = parley.follow(reply.runId);
  await whole.finished();
  assert.equal(whole.text, WORDS.join(''));
});

test('a reply that fails ends in its problem, what came of it kept', async () => {
  const reply = parley.complete(`${bot}-broken`, 'Speak.');
  await assert.rejects(reply.finished(), ProblemError);
  assert.equal(reply.text, 'One ');
  await assert.rejects(parley.complete('no-such-bot', 'Speak.').finished(), failure => failure.code === 'not_found');
});

test('a signal ends a stream', async () => {
  const stop = new AbortController();
  const reply = parley.complete(bot, 'Speak.', { signal: stop.signal });
  await assert.rejects(async () => {
    for await (const _ of reply) stop.abort(new Error('enough'));
  }, /enough/);
  await assert.rejects(parley.complete(bot, 'Speak.', { signal: AbortSignal.abort(new Error('never')) }).finished(), /never/);
});

test('a server that is not there is given up', async () => {
  const nobody = new Parley({ baseUrl: 'http://127.0.0.1:1', token: 'x.y' });
  await assert.rejects(nobody.complete(bot, 'Speak.', { retries: 1 }).finished(), DisconnectedError);
  await assert.rejects(async () => {
    for await (const _ of nobody.socket({ WebSocket, retries: 1 }));
  }, DisconnectedError);
});

/** Reads frames until one fits. */
async function until(socket, fits) {
  for await (const frame of socket) if (fits(frame)) return frame;
  throw new Error('the socket ended');
}

test('a socket sends, hears the reply as it grows, and ends when it is closed', async () => {
  const socket = parley.socket({ botId: bot, stream: true, WebSocket });
  const sent = socket.send('Speak.');
  let text = '';
  const reply = await until(socket, frame => {
    if (frame.type === 'typing') text = (frame.reset ? '' : text) + (frame.delta ?? '');
    return frame.type === 'message';
  });
  assert.equal(reply.sender, 'bot');
  assert.equal(reply.content, WORDS.join(''));
  assert.equal(text, reply.content);
  assert.equal((await sent).seq, 1);
  await assert.rejects(socket.send('Again.'), DisconnectedError); // leaving the loop has closed it
});

test('a socket that is cut hears each message once, and what it sends is stored once', async () => {
  const proxy = await breaking(new URL(baseUrl), [50, 700, 1000, 1200]);
  try {
    const through = new Parley({ baseUrl: proxy.baseUrl, token: await keyOf(`carol-${run}`) });
    const socket = through.socket({ botId: bot, WebSocket });
    const seqs = [];
    const done = (async () => {
      for await (const frame of socket) {
        if (frame.type !== 'message') continue;
        seqs.push(frame.seq);
        if (frame.sender === 'bot' && frame.seq >= 6) return;
      }
    })();
    const sent = [];
    for (const text of ['One.', 'Two.', 'Three.']) sent.push((await socket.send(text)).seq);
    await done;
    assert.ok(proxy.made >= 3, `${proxy.made} cuts`);
    assert.deepEqual(seqs, [...new Set(seqs)].sort((a, b) => a - b));
    const { data } = await through.api.GET('/api/conversations/{id}/history', { params: { path: { id: socket.sessionId } } });
    assert.deepEqual(data.messages.filter(one => one.sender === 'user').map(one => one.content), ['One.', 'Two.', 'Three.']);
    assert.deepEqual(new Set([...sent, ...seqs]), new Set(data.messages.map(one => one.seq)));
  } finally {
    proxy.close();
  }
});

test('a ticket opens a socket, a visitor needs none, and what is refused is told', async () => {
  const withTicket = new Parley({ baseUrl }).socket({ ticket: () => parley.ticket(), botId: bot, WebSocket });
  assert.equal((await until(withTicket, frame => frame.type === 'status')).anonymous, false);
  const visitor = parley.socket({ anonymous: true, WebSocket });
  const refused = assert.rejects(visitor.send(' '), failure => failure instanceof FrameError && failure.code === 'invalid_message');
  let isAnonymous;
  await until(visitor, frame => {
    if (frame.type === 'status') isAnonymous ??= frame.anonymous;
    return frame.type === 'error';
  });
  await refused;
  assert.equal(isAnonymous, true);
});

test('an aborted signal closes a socket', async () => {
  const stop = new AbortController();
  const socket = parley.socket({ signal: stop.signal, WebSocket });
  for await (const frame of socket) if (frame.type === 'status') stop.abort();
  await assert.rejects(socket.send('More.'), DisconnectedError);
});
