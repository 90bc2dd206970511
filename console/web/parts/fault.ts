// Errors of the API: problem details (RFC 9457) with a reason, and what to do about each.

/** What went wrong. */
export interface Fault {
  /** The HTTP status; 0 when no answer came. */
  readonly status: number;
  /** Of the table of reasons; empty when no answer came. */
  readonly reason: string;
  readonly text: string;
  readonly fields: readonly { field: string; detail: string }[];
  /** Whether a token was sent, and refused. */
  readonly refused?: boolean;
  /** When to ask again, in milliseconds. */
  readonly retryAfter?: number;
}

/** A call that failed. */
export class Failed extends Error {
  constructor(readonly fault: Fault) {
    super(fault.text);
  }
}

/** No answer came, in time or at all. */
export function unanswered(isLate = false): Fault {
  const text = isLate ? 'The server has not answered in time.' : 'The server cannot be reached.';
  return { status: 0, reason: '', text, fields: [] };
}

/** The fault of an answer. */
export async function faultOf(answer: Response): Promise<Fault> {
  const problem = await answer.json().catch(() => ({}));
  const seconds = Number(answer.headers.get('retry-after'));
  return {
    status: answer.status,
    reason: problem.reason ?? '',
    text: problem.detail ?? problem.title ?? `${answer.status} ${answer.statusText}`,
    fields: problem.errors ?? [],
    refused: /error="invalid_token"/.test(answer.headers.get('www-authenticate') ?? ''),
    ...(seconds > 0 ? { retryAfter: seconds * 1_000 } : {}),
  };
}

/** Whether an answer says that the same request may be sent again with its key: it was lost, or has to wait. */
export function isRepeatable(fault: Fault): boolean {
  return fault.status === 0 || fault.status === 429 || fault.status >= 502 || fault.reason === 'CONCURRENT_UPDATE';
}

/** What to do about it, where that is more than what the text says. */
const ADVICE: Readonly<Record<string, string>> = {
  '': 'Look whether it runs, and try again.',
  ACCOUNT_NOT_FOUND: 'Open an account first.',
  ACCOUNT_ALREADY_EXISTS: 'It can be used at once: nothing has to be opened.',
  ORDER_NOT_CANCELLABLE: 'It has ended already, and nothing can be cancelled.',
  CURRENCY_MISMATCH: 'Use the currency of the account.',
  BALANCE_LIMIT_EXCEEDED: 'Top up by less.',
  ORDER_NOT_FOUND: 'Look at the id, and whose order it is.',
  RATE_LIMITED: 'Wait a moment, and try again.',
  STORAGE_UNAVAILABLE: 'The database does not answer. Try again in a moment.',
  STORAGE_FULL: 'The operator has to make space.',
  UPSTREAM_UNAVAILABLE: 'A service does not answer. Try again in a moment.',
  DEADLINE_EXCEEDED: 'It took too long. Try again.',
  SCOPE_MISSING: 'Sign in with a token that has this scope.',
  NOT_OWNER: 'Sign in as the user whose data it is.',
  UNAUTHENTICATED: 'Sign in.',
  INVALID_FILTER: 'Change the filter.',
  INVALID_PAGE_TOKEN: 'Load the list anew.',
};

export function advice(fault: Fault): string {
  return ADVICE[fault.reason] ?? '';
}

/** Why a token is wanted, in a sentence. */
export function refusal(fault: Fault): string {
  if (!fault.refused) return 'This mesh wants a token with each call.';
  return `Your token was refused: ${fault.text}. Sign in with a new one: nothing of what you have entered is lost.`;
}
