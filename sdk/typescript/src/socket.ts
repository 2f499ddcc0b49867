import { DisconnectedError, type ProblemCode } from './problem.js';
import type { components } from './schema.js';
import { backoff, sleep } from './wait.js';

type Schemas = components['schemas'];

/** What the server sends. */
export type ServerFrame = Schemas['MessageFrame'] | Schemas['TypingFrame'] | Schemas['SuggestionFrame'] | Schemas['StatusFrame'] | Schemas['ErrorFrame'];

/** What becomes of a message that was sent. */
export interface Delivered {
  clientMessageId: string;
  messageId: string;
  seq: number;
}

/** What a socket needs of a WebSocket: the global one in browsers and Node from 22 on, the package ws in Node 20. */
export interface WebSocketLike {
  readonly readyState: number;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(data: string): void;
  close(code?: number, reason?: string): void;
}

export interface SocketOptions {
  /** Where the server is. */
  baseUrl: string;
  /** A key or a client token; a function is asked before each connection. Goes as the subprotocols bearer and the token. */
  token?: string | (() => string | Promise<string>);
  /** Instead of a token: gives a new ticket for each connection, since a ticket opens one. */
  ticket?: () => string | Promise<string>;
  /** The conversation or the visit to continue. */
  sessionId?: string;
  /** The bot of a new one. */
  botId?: string;
  /** The last seq that is known; what came after it is replayed, with 0 everything. Without it a session begins with what comes. */
  after?: number;
  /** Whether typing frames carry the reply as it grows. */
  stream?: boolean;
  /** How often in a row to try to connect before giving up; 8 unless it says otherwise. */
  retries?: number;
  /** Closes the socket. */
  signal?: AbortSignal;
  /** What to make sockets of, where there is no global WebSocket: the default export of the package ws. */
  WebSocket?: new (address: string, protocols?: string[]) => WebSocketLike;
}

/** A frame that the server refused. */
export class FrameError extends Error {
  override readonly name = 'FrameError';
  readonly code: ProblemCode;
  /** Seconds after which to try again, where the server says so. */
  readonly retryAfter: number | undefined;

  constructor(frame: Schemas['ErrorFrame']) {
    super(`${frame.error}: ${frame.detail}`);
    this.code = frame.error;
    this.retryAfter = frame.retry_after;
  }
}

interface Waiting {
  frame: Schemas['ClientMessageFrame'];
  resolve: (delivered: Delivered) => void;
  reject: (failure: Error) => void;
}

/**
 * A conversation on a WebSocket that connects again by itself: `for await` gives the server's frames, each message once
 * and in order, and send() resolves when the message is stored, which happens once however often the connection breaks.
 * It ends when close() is called or the signal aborted, and throws when the server ends it for good.
 */
export class ParleySocket implements AsyncIterable<ServerFrame> {
  #options: SocketOptions;
  #ws: WebSocketLike | undefined;
  #frames: ServerFrame[] = [];
  #waiting = new Map<string, Waiting>();
  #isConnected = false;
  #isClosed = false;
  #failure: Error | undefined;
  #wake: () => void = () => {};
  /** The conversation or the visit, once it is known. */
  sessionId: string | undefined;
  /** The seq up to which everything has come. */
  after: number | undefined;

  constructor(options: SocketOptions) {
    this.#options = options;
    this.sessionId = options.sessionId;
    this.after = options.after ?? (options.sessionId === undefined ? 0 : undefined);
    options.signal?.addEventListener('abort', () => this.close(), { once: true });
    if (options.signal?.aborted) this.#isClosed = true;
    else void this.#run();
  }

  /** Sends a message; resolves when it is stored, and rejects with a FrameError when it is refused. */
  send(content: string, more: { attachments?: Schemas['AttachmentInput'][]; metadata?: Schemas['FreeObject'] } = {}): Promise<Delivered> {
    if (this.#isClosed) return Promise.reject(this.#failure ?? new DisconnectedError('the socket is closed'));
    const id = crypto.randomUUID();
    const frame: Schemas['ClientMessageFrame'] = { type: 'message', content, client_message_id: id, ...more };
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { frame, resolve, reject });
      if (this.#isConnected) this.#ws?.send(JSON.stringify(frame));
    });
  }

  /** Closes the socket: the loop over its frames ends, and what was not delivered is rejected. */
  close(): void {
    this.#end();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ServerFrame, void, undefined> {
    try {
      for (;;) {
        const frame = this.#frames.shift();
        if (frame) yield frame;
        else if (this.#failure) throw this.#failure;
        else if (this.#isClosed) return;
        else await new Promise<void>(resolve => (this.#wake = resolve));
      }
    } finally {
      this.close();
    }
  }

  #end(failure?: Error): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#failure = failure;
    this.#ws?.close(1000);
    for (const { reject } of this.#waiting.values()) reject(failure ?? new DisconnectedError('the socket was closed'));
    this.#waiting.clear();
    this.#wake();
  }

  /** Connects, again and again, until it is closed. */
  async #run(): Promise<void> {
    const { retries = 8 } = this.#options;
    for (let tries = 0; !this.#isClosed; ) {
      let cause: unknown;
      try {
        const wasConnected = await this.#connect();
        if (wasConnected) tries = 0;
      } catch (failure) {
        cause = failure;
      }
      if (this.#isClosed) return;
      if (tries++ >= retries) return this.#end(new DisconnectedError('the socket cannot be connected', { cause }));
      await sleep(backoff(tries));
    }
  }

  /** Makes one connection and resolves when it is over: whether it had begun. */
  async #connect(): Promise<boolean> {
    const { token, ticket } = this.#options;
    const WebSocket = this.#options.WebSocket ?? (globalThis.WebSocket as unknown as SocketOptions['WebSocket']);
    if (!WebSocket) {
      this.#end(new TypeError('There is no WebSocket here: give a constructor, such as that of the package ws.'));
      return false;
    }
    const address = await this.#address(ticket);
    const bearer = typeof token === 'function' ? await token() : token;
    if (this.#isClosed) return false;
    const ws = bearer === undefined ? new WebSocket(address) : new WebSocket(address, ['bearer', bearer]);
    this.#ws = ws;
    return new Promise(resolve => {
      ws.onmessage = (event: { data: unknown }) => this.#take(JSON.parse(String(event.data)) as ServerFrame);
      ws.onerror = () => {}; // the close that follows says all there is to say
      ws.onclose = () => {
        resolve(this.#isConnected);
        this.#isConnected = false;
      };
    });
  }

  async #address(ticket: SocketOptions['ticket']): Promise<string> {
    const { baseUrl, botId, stream } = this.#options;
    const address = new URL(`${baseUrl.replace(/\/+$/, '')}/ws`);
    address.protocol = address.protocol.replace('http', 'ws');
    const set = (name: string, value: string | undefined) => value !== undefined && address.searchParams.set(name, value);
    set('session_id', this.sessionId);
    set('bot_id', this.sessionId === undefined ? botId : undefined);
    set('after', this.after?.toString());
    set('stream', stream ? 'true' : undefined);
    set('ticket', await ticket?.());
    return address.toString();
  }

  #take(frame: ServerFrame): void {
    if (frame.type === 'message') {
      if (frame.seq <= (this.after ?? 0)) return;
      this.after = frame.seq;
    }
    this.#frames.push(frame);
    if (frame.type === 'status') this.#heed(frame);
    if (frame.type === 'error') this.#refused(frame);
    this.#wake();
  }

  #heed(frame: Schemas['StatusFrame']): void {
    switch (frame.status) {
      case 'connected':
        this.#isConnected = true;
        this.sessionId = frame.session_id;
        for (const { frame } of this.#waiting.values()) this.#ws?.send(JSON.stringify(frame));
        break;
      case 'delivered': {
        // A repeat may be told of before what is replayed: only the next seq says that all before it has come.
        if (frame.seq !== undefined && frame.seq === (this.after ?? frame.seq - 1) + 1) this.after = frame.seq;
        const sent = this.#waiting.get(frame.client_message_id ?? '');
        if (!sent || frame.message_id === undefined || frame.seq === undefined) break;
        this.#waiting.delete(frame.client_message_id ?? '');
        sent.resolve({ clientMessageId: frame.client_message_id ?? '', messageId: frame.message_id, seq: frame.seq });
        break;
      }
      case 'expired':
        // Whoever can give another token or ticket is asked for it when the socket connects again.
        if (typeof this.#options.token === 'function' || this.#options.ticket) break;
        this.#end(new DisconnectedError('the key, the token or the visit is over'));
        break;
    }
  }

  #refused(frame: Schemas['ErrorFrame']): void {
    const sent = this.#waiting.get(frame.client_message_id ?? '');
    if (sent) {
      this.#waiting.delete(frame.client_message_id ?? '');
      sent.reject(new FrameError(frame));
    } else if (frame.error === 'not_found') {
      this.#end(new FrameError(frame)); // the conversation has been deleted
    }
  }
}
