// What OpenAI's SDK must find at /v1. `make check-sdk` runs it against a server; the environment says where that is, and
// with which keys.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import OpenAI from 'openai';

const { PARLEY, KEY, LIMITED_KEY, LIMIT } = process.env;
const client = new OpenAI({ baseURL: `${PARLEY}/v1`, apiKey: KEY });
const question = { model: 'clever', messages: [{ role: 'user', content: 'Hello?' }] };

/** call asks the server's own API, for what OpenAI's does not have. */
async function call(method, path, body) {
  const answer = await fetch(PARLEY + path, {
    method,
    headers: { Authorization: `Bearer ${KEY}`, 'Content-Type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
  return answer.json();
}

const start = async bot => (await call('POST', '/api/conversations/start', { bot_id: bot })).conversation_id;
const history = async id => (await call('GET', `/api/conversations/${id}/history`)).messages;

/** collect reads a stream to its end. */
async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

const textOf = chunks => chunks.map(chunk => chunk.choices[0]?.delta.content ?? '').join('');

describe('the SDK', { concurrency: true }, () => {
  test('asks', async () => {
    const answer = await client.chat.completions.create({ ...question, temperature: 0, user: 'kim' });
    assert.equal(answer.object, 'chat.completion');
    assert.equal(answer.model, 'clever');
    assert.deepEqual(answer.choices, [
      { index: 0, message: { role: 'assistant', content: 'Good day', refusal: null }, logprobs: null, finish_reason: 'stop' },
    ]);
    assert.deepEqual(answer.usage, { prompt_tokens: 12, completion_tokens: 3, total_tokens: 15 });
    assert.ok(answer._request_id);
    const faq = await client.chat.completions.create({ ...question, model: 'parley' });
    assert.deepEqual(faq.usage, { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 });
  });

  test('streams', async () => {
    const chunks = await collect(await client.chat.completions.create({ ...question, stream: true }));
    assert.equal(textOf(chunks), 'Good day');
    assert.equal(chunks[0].choices[0].delta.role, 'assistant');
    assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
    assert.ok(chunks.every(chunk => chunk.usage === undefined && chunk.id === chunks[0].id));
  });

  test('streams with the usage', async () => {
    const options = { stream_options: { include_usage: true } };
    const chunks = await collect(await client.chat.completions.create({ ...question, ...options, stream: true }));
    assert.deepEqual(chunks.at(-1).choices, []);
    assert.deepEqual(chunks.at(-1).usage, { prompt_tokens: 12, completion_tokens: 3, total_tokens: 15 });
    // Its own accumulator makes of the chunks what the JSON answer is.
    const whole = await client.chat.completions.stream({ ...question, ...options }).finalChatCompletion();
    assert.equal(whole.choices[0].message.content, 'Good day');
    assert.equal(whole.choices[0].finish_reason, 'stop');
    assert.equal(whole.usage.total_tokens, 15);
  });

  test('aborts in the middle of a stream', async () => {
    for (const id of [undefined, await start('slow')]) {
      const stream = await client.chat.completions.create({ ...question, model: 'slow', stream: true, metadata: id && { conversation_id: id } });
      let read = 0;
      for await (const chunk of stream) {
        if (chunk.choices[0].delta.content && ++read === 3) stream.controller.abort();
      }
      assert.ok(read >= 3 && read < 50, `${read} pieces`); // what had arrived already may still be read
      if (!id) continue;
      // The conversation has the whole reply all the same.
      let said = [];
      while (said.length < 2) {
        await new Promise(resolve => setTimeout(resolve, 100));
        said = await history(id);
      }
      assert.equal(said[1].content, 'and so on '.repeat(50));
    }
  });

  test('keeps the turns of a conversation', async () => {
    const id = await start('clever');
    for (const content of ['First', 'Second']) {
      const asking = client.chat.completions.create({ ...question, messages: [{ role: 'user', content }], metadata: { conversation_id: id } });
      const { data, response } = await asking.withResponse();
      assert.equal(data.id, `chatcmpl-${response.headers.get('x-run-id')}`);
    }
    assert.deepEqual((await history(id)).map(message => message.content), ['First', 'Good day', 'Second', 'Good day']);
  });

  test('lists the models', async () => {
    const models = await collect(client.models.list());
    assert.deepEqual(models.map(model => model.id).sort(), ['broken', 'clever', 'parley', 'slow']);
    const model = await client.models.retrieve('clever');
    assert.deepEqual(model, models.find(one => one.id === 'clever'));
    assert.equal(model.object, 'model');
    assert.ok(Math.abs(Date.now() / 1000 - model.created) < 3600);
  });

  test('raises the errors that it has', async () => {
    const raises = async (what, kind, wanted) => {
      const error = await what.then(() => assert.fail('nothing was raised'), raised => raised);
      assert.ok(error instanceof kind, String(error));
      for (const [name, value] of Object.entries(wanted)) assert.equal(error[name], value, `${name} of ${error}`);
      assert.ok(error.requestID);
    };
    await raises(client.chat.completions.create({ ...question, model: 'nobody' }), OpenAI.NotFoundError, { code: 'model_not_found', param: 'model', type: 'not_found_error' });
    await raises(client.models.retrieve('nobody'), OpenAI.NotFoundError, { code: 'model_not_found' });
    await raises(client.embeddings.create({ model: 'clever', input: 'Hello' }), OpenAI.NotFoundError, { code: 'not_found' });
    await raises(client.chat.completions.create({ ...question, messages: [{ role: 'user', content: ' ' }] }), OpenAI.BadRequestError, { code: 'invalid_message', param: 'messages[0].content' });
    await raises(client.chat.completions.create({ ...question, n: 2 }), OpenAI.BadRequestError, { code: 'invalid_request', param: 'n' });
    await raises(new OpenAI({ baseURL: `${PARLEY}/v1`, apiKey: 'sk-none' }).models.list(), OpenAI.AuthenticationError, { code: 'unauthorized' });
    const elsewhere = client.chat.completions.create({ ...question, metadata: { conversation_id: '019bc0a4-7c10-7f3a-8d55-1b2f6a1c0e01' } });
    await raises(elsewhere, OpenAI.NotFoundError, { code: 'not_found', param: 'metadata.conversation_id' });
  });

  test('raises a failure in the middle of a stream', async () => {
    const stream = await client.chat.completions.create({ ...question, model: 'broken', stream: true });
    const chunks = [];
    const reading = async () => { for await (const chunk of stream) chunks.push(chunk); };
    await assert.rejects(reading, error => error instanceof OpenAI.APIError && error.code === 'upstream_failed' && error.type === 'server_error');
    assert.equal(textOf(chunks), 'One ');
  });

  test('asks again what failed, but not what a conversation keeps', async () => {
    const id = await start('broken');
    for (const [metadata, tries] of [[undefined, 3], [{ conversation_id: id }, 1]]) {
      let tried = 0;
      const counting = client.withOptions({ fetch: (...request) => { tried++; return fetch(...request); } });
      await assert.rejects(counting.chat.completions.create({ ...question, model: 'broken', metadata }), OpenAI.InternalServerError);
      assert.equal(tried, tries);
    }
    assert.deepEqual((await history(id)).map(message => message.content), ['Hello?', 'One ']);
  });

  test('waits as a 429 tells it to, and then succeeds', async () => {
    const answers = [];
    const limited = client.withOptions({
      apiKey: LIMITED_KEY,
      fetch: async (...request) => {
        const answer = await fetch(...request);
        answers.push([answer.status, Number(answer.headers.get('retry-after'))]);
        return answer;
      },
    });
    for (let i = 0; i < LIMIT; i++) await limited.chat.completions.create(question);
    const began = Date.now();
    await limited.chat.completions.create(question);
    const [[refused, after], [status]] = answers.slice(LIMIT);
    assert.deepEqual([answers.length, refused, status], [Number(LIMIT) + 2, 429, 200]);
    assert.ok(after > 0 && after <= 60 && Date.now() - began >= after * 1000 - 50, `after ${after} s`);
  });
});
