// Tests /v1 with OpenAI's SDK for Node. `make check-sdk` starts a server and passes its URL and API
// keys in the environment.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import OpenAI from 'openai';

const { PARLEY, KEY, LIMITED_KEY, LIMIT } = process.env;
const client = new OpenAI({ baseURL: `${PARLEY}/v1`, apiKey: KEY });
const question = { model: 'clever', messages: [{ role: 'user', content: 'Hello?' }] };

/** Sends a request to the server's own API. */
async function call(method, path, body) {
  const response = await fetch(PARLEY + path, {
    method,
    headers: { Authorization: `Bearer ${KEY}`, 'Content-Type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  assert.ok(response.ok, `${method} ${path}: ${response.status}`);
  return response.json();
}

const start = async bot => (await call('POST', '/api/conversations/start', { bot_id: bot })).conversation_id;
const history = async id => (await call('GET', `/api/conversations/${id}/history`)).messages;

/** Reads a stream to its end. */
async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

const textOf = chunks => chunks.map(chunk => chunk.choices[0]?.delta.content ?? '').join('');

describe('OpenAI SDK', { concurrency: true }, () => {
  test('creates completions', async () => {
    const completion = await client.chat.completions.create({ ...question, temperature: 0, user: 'kim' });
    assert.equal(completion.object, 'chat.completion');
    assert.equal(completion.model, 'clever');
    assert.deepEqual(completion.choices, [
      { index: 0, message: { role: 'assistant', content: 'Good day', refusal: null }, logprobs: null, finish_reason: 'stop' },
    ]);
    assert.deepEqual(completion.usage, { prompt_tokens: 12, completion_tokens: 3, total_tokens: 15 });
    assert.ok(completion._request_id);
    const faq = await client.chat.completions.create({ ...question, model: 'parley' });
    assert.equal(faq.usage, undefined);
  });

  test('streams completions', async () => {
    const chunks = await collect(await client.chat.completions.create({ ...question, stream: true }));
    assert.equal(textOf(chunks), 'Good day');
    assert.equal(chunks[0].choices[0].delta.role, 'assistant');
    assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
    assert.ok(chunks.every(chunk => chunk.usage === undefined && chunk.id === chunks[0].id));
  });

  test('streams the usage on request', async () => {
    const options = { stream_options: { include_usage: true } };
    const chunks = await collect(await client.chat.completions.create({ ...question, ...options, stream: true }));
    assert.deepEqual(chunks.at(-1).choices, []);
    assert.deepEqual(chunks.at(-1).usage, { prompt_tokens: 12, completion_tokens: 3, total_tokens: 15 });
    // The SDK accumulates the chunks to the same completion as the JSON response.
    const whole = await client.chat.completions.stream({ ...question, ...options }).finalChatCompletion();
    assert.equal(whole.choices[0].message.content, 'Good day');
    assert.equal(whole.choices[0].finish_reason, 'stop');
    assert.equal(whole.usage.total_tokens, 15);
  });

  test('aborts a stream', async () => {
    for (const id of [undefined, await start('slow')]) {
      const stream = await client.chat.completions.create({ ...question, model: 'slow', stream: true, metadata: id && { conversation_id: id } });
      let read = 0;
      for await (const chunk of stream) {
        if (chunk.choices[0].delta.content && ++read === 3) stream.controller.abort();
      }
      assert.ok(read >= 3 && read < 50, `${read} pieces`); // Chunks that have already arrived can still be read.
      if (!id) continue;
      // The conversation still receives the whole reply.
      let messages = [];
      while (messages.length < 2) {
        await new Promise(resolve => setTimeout(resolve, 100));
        messages = await history(id);
      }
      assert.equal(messages[1].content, 'and so on '.repeat(50));
    }
  });

  test('stores the messages of a conversation', async () => {
    const id = await start('clever');
    for (const content of ['First', 'Second']) {
      const completion = client.chat.completions.create({ ...question, messages: [{ role: 'user', content }], metadata: { conversation_id: id } });
      const { data, response } = await completion.withResponse();
      assert.equal(data.id, `chatcmpl-${response.headers.get('x-run-id')}`);
    }
    assert.deepEqual((await history(id)).map(message => message.content), ['First', 'Good day', 'Second', 'Good day']);
  });

  test('lists models', async () => {
    const models = await collect(client.models.list());
    assert.deepEqual(models.map(model => model.id).sort(), ['broken', 'clever', 'parley', 'slow']);
    const model = await client.models.retrieve('clever');
    assert.deepEqual(model, models.find(({ id }) => id === 'clever'));
    assert.equal(model.object, 'model');
    assert.ok(Math.abs(Date.now() / 1000 - model.created) < 3600);
  });

  test('throws the error class of each status', async () => {
    const throws = async (request, type, properties) => {
      const error = await request.then(() => assert.fail('no error was thrown'), reason => reason);
      assert.ok(error instanceof type, String(error));
      for (const [name, value] of Object.entries(properties)) assert.equal(error[name], value, `${name} of ${error}`);
      assert.ok(error.requestID);
    };
    await throws(client.chat.completions.create({ ...question, model: 'nobody' }), OpenAI.NotFoundError, { code: 'model_not_found', param: 'model', type: 'not_found_error' });
    await throws(client.models.retrieve('nobody'), OpenAI.NotFoundError, { code: 'model_not_found' });
    await throws(client.embeddings.create({ model: 'clever', input: 'Hello' }), OpenAI.NotFoundError, { code: 'not_found' });
    await throws(client.chat.completions.create({ model: 'parley', messages: [{ role: 'user', content: ' ' }] }), OpenAI.BadRequestError, { code: 'invalid_message', param: 'messages[0].content' });
    await throws(client.chat.completions.create({ ...question, n: 2 }), OpenAI.BadRequestError, { code: 'invalid_request', param: 'n' });
    await throws(new OpenAI({ baseURL: `${PARLEY}/v1`, apiKey: 'sk-none' }).models.list(), OpenAI.AuthenticationError, { code: 'unauthorized' });
    const unknownConversation = client.chat.completions.create({ ...question, metadata: { conversation_id: '019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e01' } });
    await throws(unknownConversation, OpenAI.NotFoundError, { code: 'not_found', param: 'metadata.conversation_id' });
  });

  test('throws an error within a stream', async () => {
    const stream = await client.chat.completions.create({ ...question, model: 'broken', stream: true });
    const chunks = [];
    const read = async () => { for await (const chunk of stream) chunks.push(chunk); };
    await assert.rejects(read, error => error instanceof OpenAI.APIError && error.code === 'upstream_failed' && error.type === 'server_error');
    assert.equal(textOf(chunks), 'One ');
  });

  test('does not retry a model server that the server has retried', async () => {
    const id = await start('broken');
    for (const metadata of [undefined, { conversation_id: id }]) {
      let requests = 0;
      const countingClient = client.withOptions({ fetch: (...request) => { requests++; return fetch(...request); } });
      await assert.rejects(countingClient.chat.completions.create({ ...question, model: 'broken', metadata }), OpenAI.InternalServerError);
      assert.equal(requests, 1);
    }
    assert.deepEqual((await history(id)).map(message => message.content), ['Hello?', 'One ']);
  });

  test('waits for Retry-After on 429 and succeeds', async () => {
    const responses = [];
    const limited = client.withOptions({
      apiKey: LIMITED_KEY,
      fetch: async (...request) => {
        const response = await fetch(...request);
        responses.push([response.status, Number(response.headers.get('retry-after'))]);
        return response;
      },
    });
    for (let i = 0; i < LIMIT; i++) await limited.chat.completions.create(question);
    const start = Date.now();
    await limited.chat.completions.create(question);
    const [[refused, retryAfter], [status]] = responses.slice(LIMIT);
    assert.deepEqual([responses.length, refused, status], [Number(LIMIT) + 2, 429, 200]);
    assert.ok(retryAfter > 0 && retryAfter <= 60 && Date.now() - start >= retryAfter * 1000 - 50, `Retry-After: ${retryAfter}`);
  });
});
