import type { components } from './schema.js';

/** A problem document (RFC 9457) from the server. */
export type Problem = components['schemas']['Problem'];

/** The error code of a problem. */
export type ProblemCode = Problem['error'];

/** Thrown when the server refuses a request or fails to carry it out. */
export class ProblemError extends Error {
  override readonly name = 'ProblemError';

  constructor(
    readonly problem: Problem,
    /** The headers of the response. Undefined for a problem in a stream. */
    readonly headers?: Headers,
  ) {
    super(`${problem.error}: ${problem.detail}`);
  }

  get code(): ProblemCode {
    return this.problem.error;
  }

  get status(): number {
    return this.problem.status;
  }

  /** Seconds to wait before a retry, if the server gave them. */
  get retryAfter(): number | undefined {
    const header = this.headers?.get('Retry-After');
    return header ? Number(header) : this.problem.retry_after;
  }
}

/**
 * Thrown when the connection is lost and could not be restored within the allowed number of
 * retries.
 */
export class DisconnectedError extends Error {
  override readonly name = 'DisconnectedError';
}

/**
 * Reads the problem from a response. A response that is not a problem document, such as a proxy's
 * error page, becomes one.
 */
export async function readProblem(response: Response): Promise<ProblemError> {
  const text = await response.text().catch(() => '');
  return new ProblemError(parseProblem(text, response), response.headers);
}

function parseProblem(text: string, response: Response): Problem {
  try {
    const problem = JSON.parse(text) as Partial<Problem> | null;
    if (typeof problem?.error === 'string' && typeof problem.status === 'number') return problem as Problem;
  } catch {
    // The response is not JSON.
  }
  return {
    type: 'about:blank',
    title: response.statusText,
    status: response.status,
    detail: text.slice(0, 500) || `The response has the status ${response.status}.`,
    error: response.status >= 500 ? 'unavailable' : 'invalid_request',
    request_id: response.headers.get('X-Request-Id') ?? '',
    retryable: response.status >= 500,
  };
}
