import { DisconnectedError, problemIn, ProblemError } from './problem.js';
import type { components } from './schema.js';
import { eventsIn } from './sse.js';
import { backoff, sleep } from './wait.js';

/** One event of a streamed reply. */
export type CompletionEvent = components['schemas']['CompletionEvent'];

/** What is asked. */
export type CompletionCreate = components['schemas']['CompletionCreate'];

export interface StreamOptions {
  /** Ends the stream; the reply itself goes on (cancel it with POST /api/runs/{runId}/cancel/). */
  signal?: AbortSignal;
  /** How often in a row to try again before giving up; 8 unless it says otherwise. */
  retries?: number;
  /** After how many milliseconds without a byte a connection counts as broken; 45,000, three of the server's comments. */
  idle?: number;
}

/** Sends a request of the API, with what it needs of authentication. */
export type Send = (path: string, init: RequestInit) => Promise<Response>;

/**
 * A reply as it is written: for await gives its events, once each and in order, whatever becomes of the connection. A
 * stream that breaks is taken up where it was. When the server began the reply anew an event has `reset: true`: forget
 * the text so far, its content is the whole of it. `text` has all of that done.
 *
 * A reply that fails ends with an event that has `error`, after which the loop throws it as a ProblemError. What the
 * server refuses is a ProblemError too.
 */
export class ReplyStream implements AsyncIterable<CompletionEvent> {
  #send: Send;
  #options: StreamOptions;
  #open: () => Promise<Response>;
  #last: CompletionEvent | undefined;
  /** The text so far. */
  text = '';
  /** The run that writes the reply, once it is known. */
  runId: string | undefined;
  /** The id of the last event, with which another stream could go on: followRun takes it as `after`. */
  lastEventId: string | undefined;

  /** Begins with what open answers; without open by following the run. */
  constructor(send: Send, options: StreamOptions, from: { open: () => Promise<Response> } | { runId: string; after?: string }) {
    this.#send = send;
    this.#options = options;
    if ('open' in from) {
      this.#open = from.open;
    } else {
      this.runId = from.runId;
      this.lastEventId = from.after;
      this.#open = () => this.#follow();
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<CompletionEvent, void, undefined> {
    if (this.#last) return;
    const { signal, retries = 8, idle = 45_000 } = this.#options;
    for (let tries = 0; ; ) {
      signal?.throwIfAborted();
      let wait = 0;
      try {
        for await (const event of this.#connect(idle)) {
          tries = 0;
          yield event;
          if (event.error) throw new ProblemError(event.error);
          if (event.done) return;
        }
      } catch (failure) {
        signal?.throwIfAborted();
        if (failure instanceof ProblemError) {
          if (this.#last || !isPassing(failure)) throw failure;
          wait = (failure.retryAfter ?? 0) * 1000;
        }
        if (tries >= retries) throw failure instanceof ProblemError ? failure : new DisconnectedError('the stream is broken', { cause: failure });
      }
      if (tries >= retries) throw new DisconnectedError('the stream ends before the reply does');
      tries++;
      await sleep(Math.max(wait, backoff(tries)), signal);
    }
  }

  /** Reads the reply to its end and returns the last event, which says how it ended. */
  async finished(): Promise<CompletionEvent> {
    if (!this.#last) {
      for await (const _ of this) {
        // text grows
      }
    }
    return this.#last as CompletionEvent;
  }

  /** Reads one connection; what has come of the reply is counted, so that the next one goes on there. */
  async *#connect(idle: number): AsyncGenerator<CompletionEvent> {
    const answer = await (this.runId === undefined ? this.#open() : this.#follow());
    if (!answer.ok) throw await problemIn(answer);
    this.runId ??= answer.headers.get('X-Run-Id') ?? undefined;
    if (!answer.body) return;
    for await (const { id, data } of eventsIn(answer.body, idle)) {
      const event = JSON.parse(data) as CompletionEvent;
      this.runId = event.runId;
      this.lastEventId = id;
      this.text = event.reset ? event.content : this.text + event.content;
      if (event.done) this.#last = event;
      yield event;
    }
  }

  #follow(): Promise<Response> {
    const headers: Record<string, string> = { Accept: 'text/event-stream' };
    if (this.lastEventId !== undefined) headers['Last-Event-ID'] = this.lastEventId;
    return this.#send(`/api/runs/${this.runId}/events/`, { headers, ...within(this.#options) });
  }
}

/** Opens the stream of a completion. A repeat has the same Idempotency-Key, so it asks nothing anew. */
export function completionStream(send: Send, chatbot: string, question: CompletionCreate, options: StreamOptions): ReplyStream {
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': crypto.randomUUID() };
  const body = JSON.stringify({ ...question, isStreaming: true });
  const open = () => send(`/api/chatbots/${encodeURIComponent(chatbot)}/completions/`, { method: 'POST', headers, body, ...within(options) });
  return new ReplyStream(send, options, { open });
}

function within({ signal }: StreamOptions): RequestInit {
  return signal ? { signal } : {};
}

/** What passes by itself: the server, or a proxy before it, is being started anew, or has too much to do. */
function isPassing(failure: ProblemError): boolean {
  return failure.status === 502 || failure.status === 503 || failure.status === 504;
}
