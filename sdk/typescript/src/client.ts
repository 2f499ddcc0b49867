import createClient, { type Client } from 'openapi-fetch';
import { problemIn } from './problem.js';
import type { components, paths } from './schema.js';
import { ParleySocket, type SocketOptions } from './socket.js';
import { completionStream, type CompletionCreate, ReplyStream, type StreamOptions } from './stream.js';

export interface ParleyOptions {
  /** Where the server is, such as https://parley.example.com. */
  baseUrl: string;
  /** A key, for backends, or a client token, for pages; a function is asked before each request and each socket. */
  token?: string | (() => string | Promise<string>);
  /** Instead of the global fetch. */
  fetch?: typeof fetch;
}

/** A client of one server, speaking for one key or token. */
export class Parley {
  #options: ParleyOptions;
  /**
   * Every operation, typed: `const {data} = await parley.api.GET('/api/me/')`. What the server refuses is thrown as a
   * ProblemError, so data is there.
   */
  readonly api: Client<paths>;

  constructor(options: ParleyOptions) {
    this.#options = { ...options, baseUrl: options.baseUrl.replace(/\/+$/, '') };
    this.api = createClient<paths>({ baseUrl: this.#options.baseUrl, fetch: request => this.#fetch(request) });
    this.api.use({
      onResponse: async ({ response }) => {
        if (!response.ok) throw await problemIn(response);
      },
    });
  }

  /** Asks a chatbot, by slug or id, and streams its reply. */
  complete(chatbot: string, question: CompletionCreate | string, options: StreamOptions = {}): ReplyStream {
    const body = typeof question === 'string' ? { message: { content: question } } : question;
    return completionStream(this.#send, chatbot, body, options);
  }

  /** Streams the reply of any run, from its beginning or from what came after an event. */
  follow(runId: string, options: StreamOptions & { after?: string } = {}): ReplyStream {
    const { after, ...rest } = options;
    return new ReplyStream(this.#send, rest, after === undefined ? { runId } : { runId, after });
  }

  /** Opens a WebSocket: with this client's token, with a ticket, or as an anonymous visitor. */
  socket(options: Omit<SocketOptions, 'baseUrl' | 'token'> & { anonymous?: boolean } = {}): ParleySocket {
    const { token, baseUrl } = this.#options;
    const { anonymous, ...rest } = options;
    return new ParleySocket({ ...rest, baseUrl, ...(token !== undefined && !anonymous && !rest.ticket ? { token } : {}) });
  }

  /** Makes a ticket for one WebSocket, to be handed to a page. */
  async ticket(body: components['schemas']['WsTicketCreate'] = {}): Promise<string> {
    const { data } = await this.api.POST('/api/ws-tickets/', { body });
    return data!.ticket;
  }

  #send = (path: string, init: RequestInit) => this.#fetch(new Request(this.#options.baseUrl + path, init));

  async #fetch(request: Request): Promise<Response> {
    const { token } = this.#options;
    if (token !== undefined) request.headers.set('Authorization', `Bearer ${typeof token === 'string' ? token : await token()}`);
    return (this.#options.fetch ?? fetch)(request);
  }
}
