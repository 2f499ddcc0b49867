import type { components } from './schema.js';

/** A problem document (RFC 9457), as the server writes it. */
export type Problem = components['schemas']['Problem'];

/** What a problem is, to program against. */
export type ProblemCode = Problem['error'];

/** What the server refused, or failed to do. */
export class ProblemError extends Error {
  override readonly name = 'ProblemError';

  constructor(
    readonly problem: Problem,
    /** The answer's headers; none where the problem came in a stream. */
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

  /** Seconds after which to try again, where the server says so. */
  get retryAfter(): number | undefined {
    const header = this.headers?.get('Retry-After');
    return header ? Number(header) : this.problem.retry_after;
  }
}

/** The connection is gone, and could not be made again in as many tries as were allowed. */
export class DisconnectedError extends Error {
  override readonly name = 'DisconnectedError';
}

/** Reads the problem out of an answer; what is none, such as a proxy's page, becomes one. */
export async function problemIn(answer: Response): Promise<ProblemError> {
  const text = await answer.text().catch(() => '');
  return new ProblemError(asProblem(text, answer), answer.headers);
}

function asProblem(text: string, answer: Response): Problem {
  try {
    const problem = JSON.parse(text) as Partial<Problem> | null;
    if (typeof problem?.error === 'string' && typeof problem.status === 'number') return problem as Problem;
  } catch {
    // It is no JSON.
  }
  return {
    type: 'about:blank',
    title: answer.statusText,
    status: answer.status,
    detail: text.slice(0, 500) || `The answer has the status ${answer.status}.`,
    error: answer.status >= 500 ? 'unavailable' : 'invalid_request',
    request_id: answer.headers.get('X-Request-Id') ?? '',
    retryable: answer.status >= 500,
  };
}
