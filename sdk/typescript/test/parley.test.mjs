// Tests the client against a running server. PARLEY is its URL, ADMIN_KEY an API key with the scope
// admin. `make sdk-check` starts the server and runs this file.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Parley, DisconnectedError, FrameError, ProblemError } from 'parley-client';
import WebSocket from 'ws';
import { cuttingProxy } from './proxy.mjs';

const baseUrl = process.env.PARLEY;
const admin = new Parley({ baseUrl, token: process.env.ADMIN_KEY });
const WORDS = Array.from({ length: 40 }, (_, i) => `word ${i} é好🙂 `);
const run = Date.now().toString(36);
const bot = `sdk-${run}`;
let parley;

/** Creates a key for a new user, who has rate limits of its own. */
async function createKey(user) {
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
  parley = new Parley({ baseUrl, token: await createKey(`alice-${run}`) });
});

test('sends typed requests and throws problems', async () => {
  const { data } = await parley.api.GET('/api/me/');
  assert.equal(data.user.name, `alice-${run}`);
  await assert.rejects(parley.api.GET('/api/conversations/{id}/', { params: { path: { id: 'nothing' } } }), error => {
    assert.ok(error instanceof ProblemError);
    assert.equal(error.code, 'not_found');
    assert.equal(error.status, 404);
    assert.ok(error.problem.request_id);
    return true;
  });
});

test('streams the reply that is stored', async () => {
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

test('resumes a stream after each cut without losing or repeating text', async () => {
  // The first connection is cut before its first byte, the second in its headers, the others within
  // an event.
  const proxy = await cuttingProxy(new URL(baseUrl), [0, 100, 1200, 900, 1500]);
  try {
    const key = await createKey(`bob-${run}`);
    const reply = new Parley({ baseUrl: proxy.baseUrl, token: key }).complete(bot, 'Speak.');
    let text = '';
    for await (const event of reply) text = event.reset ? event.content : text + event.content;
    assert.equal(proxy.cuts, 5);
    assert.equal(text, WORDS.join(''));
    assert.equal(reply.text, text);
    // The question was asked once, although the response to the first request was lost.
    const { data } = await new Parley({ baseUrl, token: key }).api.GET('/api/conversations', { params: { query: {} } });
    assert.equal(data.total, 1);
  } finally {
    proxy.close();
  }
});

test('follows a run after an event', async () => {
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

test('throws the problem of a failed reply and keeps its text', async () => {
  const reply = parley.complete(`${bot}-broken`, 'Speak.');
  await assert.rejects(reply.finished(), ProblemError);
  assert.equal(reply.text, 'One ');
  await assert.rejects(parley.complete('no-such-bot', 'Speak.').finished(), error => error.code === 'not_found');
});

test('ends a stream when the signal is aborted', async () => {
  const controller = new AbortController();
  const reply = parley.complete(bot, 'Speak.', { signal: controller.signal });
  await assert.rejects(async () => {
    for await (const _ of reply) controller.abort(new Error('enough'));
  }, /enough/);
  await assert.rejects(parley.complete(bot, 'Speak.', { signal: AbortSignal.abort(new Error('never')) }).finished(), /never/);
});

test('gives up on an unreachable server', async () => {
  const unreachable = new Parley({ baseUrl: 'http://127.0.0.1:1', token: 'x.y' });
  await assert.rejects(unreachable.complete(bot, 'Speak.', { retries: 1 }).finished(), DisconnectedError);
  await assert.rejects(async () => {
    for await (const _ of unreachable.socket({ WebSocket, retries: 1 }));
  }, DisconnectedError);
});

/** Reads frames until one matches. */
async function until(socket, matches) {
  for await (const frame of socket) if (matches(frame)) return frame;
  throw new Error('the socket ended');
}

test('sends on a socket, streams the reply and ends when it is closed', async () => {
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
  await assert.rejects(socket.send('Again.'), DisconnectedError); // Leaving the loop closes the socket.
});

test('delivers and stores each message once when a socket is cut', async () => {
  const proxy = await cuttingProxy(new URL(baseUrl), [50, 700, 1000, 1200]);
  try {
    const client = new Parley({ baseUrl: proxy.baseUrl, token: await createKey(`carol-${run}`) });
    const socket = client.socket({ botId: bot, WebSocket });
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
    assert.ok(proxy.cuts >= 3, `${proxy.cuts} cuts`);
    assert.deepEqual(seqs, [...new Set(seqs)].sort((a, b) => a - b));
    const { data } = await client.api.GET('/api/conversations/{id}/history', { params: { path: { id: socket.sessionId } } });
    assert.deepEqual(data.messages.filter(message => message.sender === 'user').map(message => message.content), ['One.', 'Two.', 'Three.']);
    assert.deepEqual(new Set([...sent, ...seqs]), new Set(data.messages.map(message => message.seq)));
  } finally {
    proxy.close();
  }
});

test('opens sockets with a ticket and anonymously, and reports refused messages', async () => {
  const withTicket = new Parley({ baseUrl }).socket({ ticket: () => parley.ticket(), botId: bot, WebSocket });
  assert.equal((await until(withTicket, frame => frame.type === 'status')).anonymous, false);
  const visitor = parley.socket({ anonymous: true, WebSocket });
  const refused = assert.rejects(visitor.send(' '), error => error instanceof FrameError && error.code === 'invalid_message');
  let isAnonymous;
  await until(visitor, frame => {
    if (frame.type === 'status') isAnonymous ??= frame.anonymous;
    return frame.type === 'error';
  });
  await refused;
  assert.equal(isAnonymous, true);
});

test('closes a socket when the signal is aborted', async () => {
  const controller = new AbortController();
  const socket = parley.socket({ signal: controller.signal, WebSocket });
  for await (const frame of socket) if (frame.type === 'status') controller.abort();
  await assert.rejects(socket.send('More.'), DisconnectedError);
});
