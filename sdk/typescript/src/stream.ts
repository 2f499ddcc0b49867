import { DisconnectedError, ProblemError, readProblem } from './problem.js';
import { backoff, sleep } from './retry.js';
import type { components } from './schema.js';
import { readEvents } from './sse.js';

/** One event of a streamed reply. */
export type CompletionEvent = components['schemas']['CompletionEvent'];

/** The request of a completion. */
export type CompletionCreate = components['schemas']['CompletionCreate'];

export interface StreamOptions {
  /** Ends the stream. The run continues; cancel it with POST /api/runs/{runId}/cancel/. */
  signal?: AbortSignal;
  /** Maximum number of consecutive retries. Default: 8. */
  retries?: number;
  /**
   * Milliseconds without a byte after which a connection counts as broken. Default: 45,000, three
   * of the server's keep-alive comments.
   */
  idle?: number;
}

/** Sends an authenticated request to the API. */
export type Send = (path: string, init: RequestInit) => Promise<Response>;

/**
 * A reply while it is written. `for await` yields each event once and in order; a broken connection
 * is resumed where it ended. If the server restarts the reply, an event has `reset: true`: discard
 * the text so far, because its content is the whole text. `text` takes this into account.
 *
 * A reply that fails yields a last event with `error`; the loop then throws it as a ProblemError. A
 * refused request also throws a ProblemError.
 */
export class ReplyStream implements AsyncIterable<CompletionEvent> {
  #send: Send;
  #options: StreamOptions;
  #open: () => Promise<Response>;
  #last: CompletionEvent | undefined;
  #isOver = false;
  /** The text so far. */
  text = '';
  /** Id of the run that writes the reply, once it is known. */
  runId: string | undefined;
  /** Id of the last event. Another stream can resume from it: pass it to `follow` as `after`. */
  lastEventId: string | undefined;

  /** Starts with the response of `open`, or by following a run. */
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
    if (this.#last || this.#isOver) return;
    const { signal, retries = 8, idle = 45_000 } = this.#options;
    for (let retry = 0; ; ) {
      signal?.throwIfAborted();
      let delay = 0;
      try {
        for await (const event of this.#connect(idle)) {
          retry = 0;
          yield event;
          if (event.error) throw new ProblemError(event.error);
          if (event.done) return;
        }
      } catch (error) {
        signal?.throwIfAborted();
        if (error instanceof ProblemError) {
          if (this.#last || !isTransient(error)) throw error;
          delay = (error.retryAfter ?? 0) * 1000;
        }
        if (retry >= retries) throw error instanceof ProblemError ? error : new DisconnectedError('the stream is broken', { cause: error });
      }
      if (this.#isOver) return;
      if (retry >= retries) throw new DisconnectedError('the stream ended before the reply');
      retry++;
      await sleep(Math.max(delay, backoff(retry)), signal);
    }
  }

  /**
   * Reads the reply to its end and returns the last event, which has the finish reason. Throws a
   * DisconnectedError if the stream was followed from the last event.
   */
  async finished(): Promise<CompletionEvent> {
    if (!this.#last) {
      for await (const _ of this) {
        // Iterating updates text.
      }
    }
    if (!this.#last) throw new DisconnectedError('nothing follows the last event');
    return this.#last;
  }

  /**
   * Yields the events of one connection and records the position from which the next one resumes.
   */
  async *#connect(idle: number): AsyncGenerator<CompletionEvent> {
    const response = await (this.runId === undefined ? this.#open() : this.#follow());
    if (!response.ok) throw await readProblem(response);
    this.runId ??= response.headers.get('X-Run-Id') ?? undefined;
    this.#isOver = response.status === 204; // `after` was the last event
    if (!response.body) return;
    for await (const { id, data } of readEvents(response.body, idle)) {
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
    return this.#send(`/api/runs/${this.runId}/events/`, { headers, ...abortable(this.#options) });
  }
}

/**
 * Opens the stream of a completion. Retries have the same Idempotency-Key, so the question is asked
 * once.
 */
export function completionStream(send: Send, chatbot: string, question: CompletionCreate, options: StreamOptions): ReplyStream {
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': crypto.randomUUID() };
  const body = JSON.stringify({ ...question, isStreaming: true });
  const open = () => send(`/api/chatbots/${encodeURIComponent(chatbot)}/completions/`, { method: 'POST', headers, body, ...abortable(options) });
  return new ReplyStream(send, options, { open });
}

function abortable({ signal }: StreamOptions): RequestInit {
  return signal ? { signal } : {};
}

/**
 * Reports whether a retry can succeed: the server, or a proxy in front of it, is restarting or
 * overloaded.
 */
function isTransient(error: ProblemError): boolean {
  return error.status === 502 || error.status === 503 || error.status === 504;
}
