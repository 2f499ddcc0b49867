import { DisconnectedError, type ProblemCode } from './problem.js';
import { backoff, sleep } from './retry.js';
import type { components } from './schema.js';

type Schemas = components['schemas'];

/** A frame from the server. */
export type ServerFrame = Schemas['MessageFrame'] | Schemas['TypingFrame'] | Schemas['SuggestionFrame'] | Schemas['StatusFrame'] | Schemas['ErrorFrame'];

/** The acknowledgement of a message. */
export interface Delivered {
  clientMessageId: string;
  messageId: string;
  seq: number;
}

/**
 * The part of WebSocket that a socket uses. Implemented by the global WebSocket (browsers, Node 22
 * and later) and by the package ws.
 */
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
  /** URL of the server. */
  baseUrl: string;
  /**
   * An API key or a client token, sent as a subprotocol. A function is called before each
   * connection.
   */
  token?: string | (() => string | Promise<string>);
  /**
   * Replaces the token: returns a new ticket for each connection, because a ticket opens one
   * socket.
   */
  ticket?: () => string | Promise<string>;
  /** Conversation or visit to continue. */
  sessionId?: string;
  /** Chatbot of a new conversation. */
  botId?: string;
  /**
   * The last known seq. Later messages are replayed; 0 replays all. Without it, a continued session
   * starts with live messages.
   */
  after?: number;
  /** Whether typing frames carry the reply while it is written. */
  stream?: boolean;
  /** Maximum number of consecutive attempts to reconnect. Default: 8. */
  retries?: number;
  /** Closes the socket. */
  signal?: AbortSignal;
  /**
   * WebSocket constructor, if there is no global WebSocket: the default export of the package ws.
   */
  WebSocket?: new (address: string, protocols?: string[]) => WebSocketLike;
}

/** An error frame from the server. */
export class FrameError extends Error {
  override readonly name = 'FrameError';
  readonly code: ProblemCode;
  /** Seconds to wait before a retry, if the server gave them. */
  readonly retryAfter: number | undefined;

  constructor(frame: Schemas['ErrorFrame']) {
    super(`${frame.error}: ${frame.detail}`);
    this.code = frame.error;
    this.retryAfter = frame.retry_after;
  }
}

interface PendingMessage {
  frame: Schemas['ClientMessageFrame'];
  resolve: (delivered: Delivered) => void;
  reject: (error: Error) => void;
}

/**
 * A WebSocket that reconnects automatically. `for await` yields the server's frames, each message
 * once and in order. send() resolves when the message is stored; a message is stored once, even if
 * the connection breaks. The loop ends when close() is called or the signal is aborted, and throws
 * when the server ends the session permanently.
 *
 * States: connecting (#connect), connected (after the status `connected`), waiting to reconnect
 * (#run), and closed (#end).
 */
export class ParleySocket implements AsyncIterable<ServerFrame> {
  #options: SocketOptions;
  #ws: WebSocketLike | undefined;
  #frames: ServerFrame[] = [];
  /**
   * Messages that have not been acknowledged, by their client_message_id. They are sent again on
   * each connection.
   */
  #pending = new Map<string, PendingMessage>();
  #isConnected = false;
  #isClosed = false;
  #error: Error | undefined;
  #wake: () => void = () => {};
  /** The conversation or visit, once it is known. */
  sessionId: string | undefined;
  /** The seq up to which all messages have been received. */
  after: number | undefined;

  constructor(options: SocketOptions) {
    this.#options = options;
    this.sessionId = options.sessionId;
    this.after = options.after ?? (options.sessionId === undefined ? 0 : undefined);
    options.signal?.addEventListener('abort', () => this.close(), { once: true });
    if (options.signal?.aborted) this.#isClosed = true;
    else void this.#run();
  }

  /**
   * Sends a message. Resolves when it is stored, and rejects with a FrameError when it is refused.
   */
  send(content: string, more: { attachments?: Schemas['AttachmentInput'][]; metadata?: Schemas['FreeObject'] } = {}): Promise<Delivered> {
    if (this.#isClosed) return Promise.reject(this.#error ?? new DisconnectedError('the socket is closed'));
    const id = crypto.randomUUID();
    const frame: Schemas['ClientMessageFrame'] = { type: 'message', content, client_message_id: id, ...more };
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { frame, resolve, reject });
      if (this.#isConnected) this.#ws?.send(JSON.stringify(frame));
    });
  }

  /**
   * Closes the socket. The loop over its frames ends, and messages that have not been acknowledged
   * are rejected.
   */
  close(): void {
    this.#end();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ServerFrame, void, undefined> {
    try {
      for (;;) {
        const frame = this.#frames.shift();
        if (frame) yield frame;
        else if (this.#error) throw this.#error;
        else if (this.#isClosed) return;
        else await new Promise<void>(resolve => (this.#wake = resolve));
      }
    } finally {
      this.close();
    }
  }

  #end(error?: Error): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#error = error;
    this.#ws?.close(1000);
    for (const { reject } of this.#pending.values()) reject(error ?? new DisconnectedError('the socket was closed'));
    this.#pending.clear();
    this.#wake();
  }

  /** Connects and reconnects until the socket is closed. */
  async #run(): Promise<void> {
    const { retries = 8 } = this.#options;
    for (let retry = 0; !this.#isClosed; ) {
      let cause: unknown;
      try {
        const wasConnected = await this.#connect();
        if (wasConnected) retry = 0;
      } catch (error) {
        cause = error;
      }
      if (this.#isClosed) return;
      if (retry++ >= retries) return this.#end(new DisconnectedError('the socket cannot be connected', { cause }));
      await sleep(backoff(retry));
    }
  }

  /**
   * Opens one connection. Resolves when it closes, with whether the server had sent the status
   * `connected`.
   */
  async #connect(): Promise<boolean> {
    const { token } = this.#options;
    const WebSocket = this.#options.WebSocket ?? (globalThis.WebSocket as unknown as SocketOptions['WebSocket']);
    if (!WebSocket) {
      this.#end(new TypeError('There is no global WebSocket. Pass a constructor as the option WebSocket, such as that of the package ws.'));
      return false;
    }
    const url = await this.#url();
    const bearer = typeof token === 'function' ? await token() : token;
    if (this.#isClosed) return false;
    const ws = bearer === undefined ? new WebSocket(url) : new WebSocket(url, ['bearer', bearer]);
    this.#ws = ws;
    return new Promise(resolve => {
      ws.onmessage = (event: { data: unknown }) => this.#receive(JSON.parse(String(event.data)) as ServerFrame);
      ws.onerror = () => {}; // A close event follows.
      ws.onclose = () => {
        resolve(this.#isConnected);
        this.#isConnected = false;
      };
    });
  }

  async #url(): Promise<string> {
    const { baseUrl, botId, stream, ticket } = this.#options;
    const url = new URL(`${baseUrl.replace(/\/+$/, '')}/ws`);
    url.protocol = url.protocol.replace('http', 'ws');
    const set = (name: string, value: string | undefined) => value !== undefined && url.searchParams.set(name, value);
    set('session_id', this.sessionId);
    set('bot_id', this.sessionId === undefined ? botId : undefined);
    set('after', this.after?.toString());
    set('stream', stream ? 'true' : undefined);
    set('ticket', await ticket?.());
    return url.toString();
  }

  #receive(frame: ServerFrame): void {
    if (frame.type === 'message') {
      if (frame.seq <= (this.after ?? 0)) return;
      this.after = frame.seq;
    }
    this.#frames.push(frame);
    if (frame.type === 'status') this.#receiveStatus(frame);
    if (frame.type === 'error') this.#receiveError(frame);
    this.#wake();
  }

  #receiveStatus(frame: Schemas['StatusFrame']): void {
    switch (frame.status) {
      case 'connected':
        this.#isConnected = true;
        this.sessionId = frame.session_id;
        for (const { frame } of this.#pending.values()) this.#ws?.send(JSON.stringify(frame));
        break;
      case 'delivered': {
        // A repeated message can be acknowledged before the replay has reached it. Only the next
        // seq proves that all earlier messages have been received.
        if (frame.seq !== undefined && frame.seq === (this.after ?? frame.seq - 1) + 1) this.after = frame.seq;
        const message = this.#pending.get(frame.client_message_id ?? '');
        if (!message || frame.message_id === undefined || frame.seq === undefined) break;
        this.#pending.delete(frame.client_message_id ?? '');
        message.resolve({ clientMessageId: frame.client_message_id ?? '', messageId: frame.message_id, seq: frame.seq });
        break;
      }
      case 'expired':
        // A function can provide new credentials for the next connection.
        if (typeof this.#options.token === 'function' || this.#options.ticket) break;
        this.#end(new DisconnectedError('the key, the token or the visit has expired'));
        break;
    }
  }

  #receiveError(frame: Schemas['ErrorFrame']): void {
    const message = this.#pending.get(frame.client_message_id ?? '');
    if (message) {
      this.#pending.delete(frame.client_message_id ?? '');
      message.reject(new FrameError(frame));
    } else if (frame.error === 'not_found') {
      this.#end(new FrameError(frame)); // The conversation was deleted.
    }
  }
}
