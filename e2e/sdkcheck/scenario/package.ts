// The scenario with the package of sdk/typescript.
import { writeFile } from 'node:fs/promises';
import { Parley, ProblemError } from 'parley-client';
import { scenario } from './scenario';

const { PARLEY, BOT, KEY, EXPORT } = process.env as Record<string, string>;
const parley = new Parley({ baseUrl: PARLEY!, token: KEY! });

const book = await scenario(parley.api, BOT!, {
  async stream(bot, conversation, question) {
    const deltas = [];
    for await (const event of parley.complete(bot, { conversation, message: { content: question } })) {
      if (event.content) deltas.push(event.content);
    }
    return deltas;
  },
  async refusal(call) {
    try {
      await call();
    } catch (failure) {
      if (failure instanceof ProblemError) return { status: failure.status, code: failure.code, retryAfter: String(failure.retryAfter) };
      throw failure;
    }
    return undefined;
  },
});
await writeFile(EXPORT!, Buffer.from(book));
