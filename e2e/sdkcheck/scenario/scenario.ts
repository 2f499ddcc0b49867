// The scenario for clients with the types of openapi-typescript. fetch.ts and package.ts run it with theirs.
import type { Client } from 'openapi-fetch';
import type { paths } from './schema';

/** The deltas of the scripted chatbot, joined. */
const REPLY = 'Good day, 世界.';

/** The operations that differ between the clients. */
export interface Adapter {
  /** Streams the reply to a question in a conversation and returns its deltas. */
  stream(bot: string, conversation: string, question: string): Promise<string[]>;
  /** Returns the refusal of a call, or undefined if it succeeded. */
  refusal(call: () => Promise<{ response: Response }>): Promise<{ status: number; code: string; retryAfter: string | null } | undefined>;
}

export async function scenario(api: Client<paths>, bot: string, adapter: Adapter): Promise<ArrayBuffer> {
  // start, and send
  const started = await api.POST('/api/conversations/start', { body: { bot_id: bot, initial_message: 'Hello' } });
  const id = want('start', started.data).conversation_id;
  const repeat = { params: { path: { id }, header: { 'Idempotency-Key': 'once' } } };
  const sent = want('send', (await api.POST('/api/conversations/{id}/messages', { ...repeat, body: { content: 'More' } })).data);

  // a repeated request gets the same answer, another body under the same key is refused
  const again = await api.POST('/api/conversations/{id}/messages', { ...repeat, body: { content: 'More' } });
  check('repeat', again.data?.message_id === sent.message_id && again.response.headers.get('Idempotency-Replayed') === 'true');
  const other = await adapter.refusal(() => api.POST('/api/conversations/{id}/messages', { ...repeat, body: { content: 'Less' } }));
  check('another body', other?.status === 422 && other.code === 'unprocessable');

  // stream; the replies to the two messages come first
  const deltas = await adapter.stream(bot, id, 'And?');
  check('stream', deltas.length > 1 && deltas.join('') === REPLY);
  const history = want('history', (await api.GET('/api/conversations/{id}/history', { params: { path: { id } } })).data);
  check('history', history.messages.length === 6 && history.messages[5]!.content === REPLY && !history.has_more);

  // page by cursor, and by number
  await api.POST('/api/conversations/start', { body: { bot_id: bot } });
  const seen = new Set<string>();
  for (let cursor: string | undefined, more = true; more; ) {
    const page = want('inbox', (await api.GET('/api/conversations/', { params: { query: { pageSize: 1, ...(cursor === undefined ? {} : { cursor }) } } })).data);
    for (const conversation of page.results) seen.add(conversation.id);
    more = page.nextCursor !== null;
    cursor = page.nextCursor ?? undefined;
  }
  check('cursor', seen.size === 2 && seen.has(id));
  const days = { startDate: day(-1), endDate: day(1) };
  const outputs: string[] = [];
  for (let page = 1, count = 1; outputs.length < count; page++) {
    const params = { path: { chatbotPk: bot }, query: { ...days, page, pageSize: 2 } };
    const records = want('records', (await api.GET('/api/chatbots/{chatbotPk}/records/', { params })).data);
    count = records.count;
    outputs.push(...records.results.map(record => record.outputMessage));
  }
  check('records', outputs.length === 3 && outputs.every(output => output === REPLY));

  // export
  const params = { path: { chatbotPk: bot }, query: days };
  const exported = await api.GET('/api/chatbots/{chatbotPk}/records/export-excel/', { params, parseAs: 'arrayBuffer' });
  const book = want('export', exported.data) as unknown as ArrayBuffer;

  // rate limit
  let limited: Awaited<ReturnType<Adapter['refusal']>>;
  for (let i = 0; i < 20 && !limited; i++) limited = await adapter.refusal(() => api.GET('/api/conversations'));
  check('limit', limited?.status === 429 && limited.code === 'rate_limited' && Number(limited.retryAfter) >= 1);
  return book;
}

function want<T>(what: string, value: T | undefined): T {
  if (value === undefined) throw new Error(`${what} failed`);
  return value;
}

function check(what: string, condition: boolean | undefined): void {
  if (!condition) throw new Error(`${what}: unexpected result`);
}

/** Returns the date some days from today, in the format of the API. */
function day(offset: number): string {
  return new Date(Date.now() + offset * 86_400_000).toISOString().slice(0, 10);
}
