// Tests /v1 with official and widely used clients for OpenAI's API. A chatbot of the engine openai
// passes their requests on to a model server that records them: each scene checks what the client
// returns and what the model server was asked. `make check-race` starts both servers and passes
// their URLs in the environment.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createOpenAI } from '@ai-sdk/openai';
import { ChatOpenAI } from '@langchain/openai';
import { Agent, OpenAIProvider, Runner, setTracingDisabled, tool as agentTool } from '@openai/agents';
import { generateObject, generateText, stepCountIs, streamText, tool as aiTool } from 'ai';
import OpenAI from 'openai';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';

const { PARLEY, UPSTREAM, KEY } = process.env;
const settings = { baseURL: `${PARLEY}/v1`, apiKey: KEY };
const client = new OpenAI(settings);
const model = 'clever';
const Weather = z.object({ city: z.string(), sunny: z.boolean() });
const forecast = { city: 'Taipei', sunny: false };
const cityParameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false };

/** Returns the requests that the model server received with this text in them. */
async function asked(text) {
  const response = await fetch(`${UPSTREAM}/requests?text=${encodeURIComponent(text)}`);
  return response.json();
}

/** Checks the two requests of a loop with one call of a function. */
async function expectToolLoop(text) {
  const requests = await asked(text);
  assert.equal(requests.length, 2, `${requests.length} requests`);
  const [first, second] = requests;
  assert.equal(first.tools[0].function.name, 'weather');
  assert.equal(first.tools[0].function.parameters.properties.city.type, 'string');
  const call = second.messages.find(({ tool_calls }) => tool_calls).tool_calls[0];
  assert.equal(call.function.name, 'weather');
  assert.deepEqual(JSON.parse(call.function.arguments), { city: 'Taipei' });
  const result = second.messages.at(-1);
  assert.equal(result.role, 'tool');
  assert.equal(result.tool_call_id, call.id);
  assert.match(JSON.stringify(result.content), /rain/);
}

/** Checks that the model server was asked for JSON with the schema. */
async function expectSchema(text) {
  const [request] = await asked(text);
  assert.equal(request.response_format.type, 'json_schema');
  assert.deepEqual(Object.keys(request.response_format.json_schema.schema.properties), ['city', 'sunny']);
}

async function collect(stream) {
  const all = [];
  for await (const part of stream) all.push(part);
  return all;
}

describe('openai for Node', () => {
  const ask = (text, more) => ({ model, messages: [{ role: 'user', content: text }], ...more });

  test('passes parameters and the whole history on', async () => {
    const text = 'openai: plain';
    const history = [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'Hi' }, { role: 'assistant', content: 'Hello' }];
    const completion = await client.chat.completions.create({ model, messages: [...history, { role: 'user', content: text }], temperature: 0.5, max_tokens: 50, stop: ['END'], seed: 7 });
    assert.equal(completion.choices[0].message.content, 'Good day');
    assert.deepEqual(completion.usage.total_tokens, 15);
    const [request] = await asked(text);
    assert.deepEqual([request.temperature, request.max_tokens, request.stop, request.seed], [0.5, 50, ['END'], 7]);
    assert.deepEqual(request.messages.map(({ role }) => role), ['system', 'user', 'assistant', 'user']);
  });

  test('streams', async () => {
    const chunks = await collect(await client.chat.completions.create(ask('openai: stream', { stream: true, stream_options: { include_usage: true } })));
    assert.equal(chunks.map(chunk => chunk.choices[0]?.delta.content ?? '').join(''), 'Good day');
    assert.equal(chunks.at(-1).usage.total_tokens, 15);
  });

  test('runs a loop with tools', async () => {
    const text = 'openai: tools';
    const runner = client.chat.completions.runTools(ask(text, {
      tools: [{ type: 'function', function: { name: 'weather', parameters: cityParameters, parse: JSON.parse, function: ({ city }) => `rain in ${city}` } }],
    }));
    assert.equal(await runner.finalContent(), 'It rains in Taipei.');
    await expectToolLoop(text);
  });

  test('parses structured output', async () => {
    const text = 'openai: parse';
    const completion = await client.chat.completions.parse(ask(text, { response_format: zodResponseFormat(Weather, 'weather') }));
    assert.deepEqual(completion.choices[0].message.parsed, forecast);
    await expectSchema(text);
  });

  test('creates responses, also with structured output', async () => {
    const response = await client.responses.create({ model, input: 'openai: response', instructions: 'Be brief.' });
    assert.equal(response.output_text, 'Good day');
    assert.equal(response.usage.total_tokens, 15);
    assert.deepEqual((await asked('openai: response'))[0].messages.map(({ role }) => role).length, 2);
    const parsed = await client.responses.parse({ model, input: 'openai: response format', text: { format: zodTextFormat(Weather, 'weather') } });
    assert.deepEqual(parsed.output_parsed, forecast);
    await expectSchema('openai: response format');
  });

  test('streams responses with calls of functions', async () => {
    const text = 'openai: response tools';
    const tools = [{ type: 'function', name: 'weather', strict: true, parameters: cityParameters }];
    const first = await client.responses.stream({ model, input: text, tools }).finalResponse();
    const call = first.output.find(({ type }) => type === 'function_call');
    assert.deepEqual(JSON.parse(call.arguments), { city: 'Taipei' });
    const input = [{ role: 'user', content: text }, call, { type: 'function_call_output', call_id: call.call_id, output: 'rain' }];
    const events = await collect(await client.responses.create({ model, input, tools, stream: true }));
    assert.equal(events.filter(({ type }) => type === 'response.output_text.delta').map(({ delta }) => delta).join(''), 'It rains in Taipei.');
    assert.equal(events.at(-1).type, 'response.completed');
    await expectToolLoop(text);
  });

  test('throws typed errors of the model server', async () => {
    const tooLong = client.chat.completions.create(ask('openai: too long'));
    await assert.rejects(tooLong, error => error instanceof OpenAI.BadRequestError && error.code === 'context_length_exceeded');
    // A stream that fails before its first token is an error of the request or, after two seconds, of the stream.
    const broken = client.chat.completions.create(ask('openai: broken', { stream: true }), { maxRetries: 0 }).then(collect);
    await assert.rejects(broken, error => error instanceof OpenAI.APIError && error.code === 'upstream_failed');
  });
});

describe('AI SDK', () => {
  const openai = createOpenAI(settings);
  for (const [name, make] of [['responses', () => openai(model)], ['chat', () => openai.chat(model)]]) {
    test(`generates and streams text (${name})`, async () => {
      const { text, usage } = await generateText({ model: make(), prompt: `ai ${name}: plain` });
      assert.equal(text, 'Good day');
      assert.equal(usage.totalTokens, 15);
      assert.equal((await collect(streamText({ model: make(), prompt: `ai ${name}: stream` }).textStream)).join(''), 'Good day');
    });

    test(`generates objects (${name})`, async () => {
      const prompt = `ai ${name}: object`;
      const { object } = await generateObject({ model: make(), schema: Weather, prompt });
      assert.deepEqual(object, forecast);
      await expectSchema(prompt);
    });

    test(`runs a loop with tools (${name})`, async () => {
      const prompt = `ai ${name}: tools`;
      const weather = aiTool({ description: 'Weather', inputSchema: z.object({ city: z.string() }), execute: async ({ city }) => `rain in ${city}` });
      const { text } = await generateText({ model: make(), prompt, tools: { weather }, stopWhen: stepCountIs(3) });
      assert.equal(text, 'It rains in Taipei.');
      await expectToolLoop(prompt);
    });
  }
});

describe('OpenAI Agents SDK', () => {
  setTracingDisabled(true);
  const weather = agentTool({ name: 'weather', description: 'Weather', parameters: z.object({ city: z.string() }), execute: async ({ city }) => `rain in ${city}` });
  const agent = new Agent({ name: 'Forecaster', instructions: 'Be brief.', model, tools: [weather] });
  for (const useResponses of [true, false]) {
    const runner = new Runner({ modelProvider: new OpenAIProvider({ openAIClient: client, useResponses }) });
    const name = useResponses ? 'responses' : 'chat';

    test(`runs an agent with a tool (${name})`, async () => {
      const text = `agents ${name}: tools`;
      const result = await runner.run(agent, text);
      assert.equal(result.finalOutput, 'It rains in Taipei.');
      await expectToolLoop(text);
    });

    test(`streams an agent (${name})`, async () => {
      const result = await runner.run(agent, `agents ${name}: stream`, { stream: true });
      const text = await collect(result.toTextStream());
      assert.equal(text.join(''), 'It rains in Taipei.');
    });
  }
});

describe('LangChain', () => {
  const chat = options => new ChatOpenAI({ model, apiKey: KEY, configuration: { baseURL: settings.baseURL }, ...options });

  test('invokes and streams', async () => {
    const message = await chat().invoke('langchain: plain');
    assert.equal(message.content, 'Good day');
    assert.equal(message.usage_metadata.total_tokens, 15);
    const chunks = await collect(await chat().stream('langchain: stream'));
    assert.equal(chunks.map(({ content }) => content).join(''), 'Good day');
  });

  test('calls tools and answers with their results', async () => {
    const text = 'langchain: tools';
    const bound = chat().bindTools([{ type: 'function', function: { name: 'weather', parameters: cityParameters } }]);
    const first = await bound.invoke([{ role: 'user', content: text }]);
    assert.deepEqual(first.tool_calls[0].args, { city: 'Taipei' });
    const second = await bound.invoke([{ role: 'user', content: text }, first, { role: 'tool', content: 'rain', tool_call_id: first.tool_calls[0].id }]);
    assert.equal(second.content, 'It rains in Taipei.');
    await expectToolLoop(text);
  });

  test('gives structured output', async () => {
    const text = 'langchain: structured';
    assert.deepEqual(await chat().withStructuredOutput(Weather, { name: 'weather', method: 'jsonSchema' }).invoke(text), forecast);
    await expectSchema(text);
  });

  test('uses the Responses API', async () => {
    const message = await chat({ useResponsesApi: true }).invoke('langchain: responses');
    assert.equal(message.text, 'Good day');
  });
});
