import createClient, { type Client } from 'openapi-fetch';
import { readProblem } from './problem.js';
import type { components, paths } from './schema.js';
import { ParleySocket, type SocketOptions } from './socket.js';
import { completionStream, type CompletionCreate, ReplyStream, type StreamOptions } from './stream.js';

export interface ParleyOptions {
  /** URL of the server, such as https://parley.example.com. */
  baseUrl: string;
  /**
   * An API key (in backends) or a client token (in pages). A function is called before each request
   * and each connection.
   */
  token?: string | (() => string | Promise<string>);
  /** Replaces the global fetch. */
  fetch?: typeof fetch;
}

/** A client of one server, authenticated with one API key or client token. */
export class Parley {
  #options: ParleyOptions;
  /**
   * All operations of the API, typed: `const { data } = await parley.api.GET('/api/me/')`. An error
   * response is thrown as a ProblemError, so `data` is always defined.
   */
  readonly api: Client<paths>;

  constructor(options: ParleyOptions) {
    this.#options = { ...options, baseUrl: options.baseUrl.replace(/\/+$/, '') };
    this.api = createClient<paths>({ baseUrl: this.#options.baseUrl, fetch: request => this.#fetch(request) });
    this.api.use({
      onResponse: async ({ response }) => {
        if (!response.ok) throw await readProblem(response);
      },
    });
  }

  /** Sends a message to a chatbot (slug or id) and streams its reply. */
  complete(chatbot: string, question: CompletionCreate | string, options: StreamOptions = {}): ReplyStream {
    const body = typeof question === 'string' ? { message: { content: question } } : question;
    return completionStream(this.#send, chatbot, body, options);
  }

  /** Streams the reply of a run, from its beginning or after an event. */
  follow(runId: string, options: StreamOptions & { after?: string } = {}): ReplyStream {
    const { after, ...rest } = options;
    return new ReplyStream(this.#send, rest, after === undefined ? { runId } : { runId, after });
  }

  /** Opens a WebSocket with this client's token, with a ticket, or as an anonymous visitor. */
  socket(options: Omit<SocketOptions, 'baseUrl' | 'token'> & { anonymous?: boolean } = {}): ParleySocket {
    const { token, baseUrl } = this.#options;
    const { anonymous, ...rest } = options;
    return new ParleySocket({ ...rest, baseUrl, ...(token !== undefined && !anonymous && !rest.ticket ? { token } : {}) });
  }

  /** Creates a ticket for one WebSocket, to be passed to a page. */
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
