// The scenario with openapi-fetch alone.
import { writeFile } from 'node:fs/promises';
import createClient from 'openapi-fetch';
import type { paths } from './schema';
import { scenario } from './scenario';

const { PARLEY, BOT, KEY, EXPORT } = process.env as Record<string, string>;
const api = createClient<paths>({ baseUrl: PARLEY!, headers: { Authorization: `Bearer ${KEY}` } });

const book = await scenario(api, BOT!, {
  async stream(bot, conversation, question) {
    const { data } = await api.POST('/api/chatbots/{chatbotId}/completions/', {
      params: { path: { chatbotId: bot } },
      body: { conversation, message: { content: question }, isStreaming: true },
      parseAs: 'stream',
    });
    const text = await new Response(data).text();
    return text.split('\n').flatMap(line => (line.startsWith('data: ') ? [JSON.parse(line.slice(6)).content] : [])).filter(Boolean);
  },
  async refusal(call) {
    const { response, error } = (await call()) as { response: Response; error?: { error: string } };
    return error && { status: response.status, code: error.error, retryAfter: response.headers.get('Retry-After') };
  },
});
await writeFile(EXPORT!, Buffer.from(book));
