// Errors of the API: problem details (RFC 9457) with a reason, and what to do about each.

/** What went wrong. */
export interface Fault {
  /** The HTTP status; 0 when no answer came. */
  readonly status: number;
  /** Of the table of reasons; empty when no answer came. */
  readonly reason: string;
  /** Whether the catalogue of errors beside the API has an entry for the reason. */
  readonly isListed?: boolean;
  readonly text: string;
  readonly fields: readonly { field: string; detail: string }[];
  /** Whether a token was sent, and refused. */
  readonly refused?: boolean;
  /** What to do about it, in place of what is said of its reason. */
  readonly advice?: string;
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

/** An answer to a write that is not repeated was lost, here or behind the server: `advice` says where to look. */
export function unknown(fault: Fault, advice: string): Fault {
  const isLost = fault.status === 0 || fault.status === 502 || fault.status === 504;
  return isLost ? { ...fault, text: `${fault.text.replace(/\.$/, '')}: it may have taken effect.`, advice } : fault;
}

/** Problem details, of which any member may be missing. */
export interface Problem {
  readonly type?: string;
  readonly title?: string;
  readonly detail?: string;
  readonly reason?: string;
  readonly errors?: Fault['fields'];
}

/** The fault of problem details with this status. */
export function problemOf(problem: Problem, status: number, otherwise = ''): Fault {
  const reason = problem.reason ?? '';
  return {
    status,
    reason,
    isListed: reason !== '' && problem.type === `/errors/${reason}`,
    text: problem.detail ?? problem.title ?? otherwise,
    fields: problem.errors ?? [],
  };
}

/** The fault of an answer to a call with a token or without one. */
export async function faultOf(answer: Response, withToken: boolean): Promise<Fault> {
  const problem: Problem = await answer.json().catch(() => ({}));
  const seconds = Number(answer.headers.get('retry-after'));
  return {
    ...problemOf(problem, answer.status, `${answer.status} ${answer.statusText}`),
    refused: withToken && answer.status === 401,
    ...(seconds > 0 ? { retryAfter: seconds * 1_000 } : {}),
  };
}

/** Fields of a form that say by themselves what is wrong with them: their labels, by the last name of their path in the API. */
export type Labels = Readonly<Record<string, string>>;

/** The last name of a path: `currencyCode` of `order.currencyCode`. */
const nameOf = (path: string) => path.split('.').at(-1) ?? path;

/** What the API says of a field of a form, as a sentence. */
export function wrongAt(fault: Fault | undefined, name: string): string | undefined {
  const found = fault?.fields.find(({ field }) => nameOf(field) === name);
  return found && sentence(found.detail);
}

/** A text as a sentence: errors of the API begin small and end without a full stop. */
export function sentence(text: string): string {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

/** The name of a field in words: `user id` of `account.userId`. */
const inWords = (path: string) => nameOf(path).replace(/([A-Z])/g, (letter) => ` ${letter.toLowerCase()}`);

/** What is wrong with a field that no form has: `User id must be given.` */
function violation({ field, detail }: Fault['fields'][number]): string {
  return sentence(/^must\b/.test(detail) ? `${inWords(field)} ${detail}` : `${inWords(field)}: ${detail}`);
}

/** What is said of a fault beside its form, each thing once: `at` are the fields that speak for themselves. */
export function sentences(fault: Fault, at: Labels = {}): string[] {
  const { fields, text } = fault;
  const labels = fields.flatMap(({ field }) => at[nameOf(field)] ?? []);
  const others = fields.filter(({ field }) => at[nameOf(field)] === undefined).map(violation);
  const seen = labels.length > 0 ? [`Not accepted: see ${labels.join(', ')}.`] : [];
  // The text of such a fault is its first violation, by the name that the field has in the contract.
  const isSaid = fields.some(({ detail }) => text === detail || text.endsWith(`: ${detail}`));
  return [...(isSaid ? [] : [sentence(text)]), ...seen, ...others];
}

/** The reasons of which the catalogue of errors says that the same call may be sent again, later or with its key (`chassis/src/status/reason.rs`). */
const REPEATABLE: readonly string[] = [
  'CONCURRENT_UPDATE',
  'RATE_LIMITED',
  'STORAGE_UNAVAILABLE',
  'STORAGE_FULL',
  'UPSTREAM_UNAVAILABLE',
  'ISSUER_UNAVAILABLE',
  'OUTCOME_UNKNOWN',
  'DEADLINE_EXCEEDED',
];

/** Whether the same request may be sent again with its key: the catalogue says so, or the answer was lost, here or by something in between. */
export function isRepeatable(fault: Fault): boolean {
  if (fault.isListed) return REPEATABLE.includes(fault.reason);
  return fault.status === 0 || fault.status === 429 || fault.status >= 502;
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
  UPSTREAM_RESPONSE_TOO_LARGE: 'It took effect: look at what has become of it, and do not send it again.',
  ANSWER_NOT_REPRESENTABLE: 'It took effect: look at what has become of it, and do not send it again.',
  SCOPE_MISSING: 'Sign in with a token that has this scope.',
  NOT_OWNER: 'Sign in as the user whose data it is.',
  UNAUTHENTICATED: 'Sign in.',
  INVALID_FILTER: 'Change the filter.',
  INVALID_PAGE_TOKEN: 'Load the list anew.',
};

export function advice(fault: Fault): string {
  return fault.advice ?? ADVICE[fault.reason] ?? '';
}

/** Why a token is wanted: a sentence, and the error behind it where a token was refused. */
export interface Refusal {
  readonly why: string;
  readonly fault?: Fault;
}

export function refusal(fault: Fault): Refusal {
  if (!fault.refused) return { why: 'This mesh wants a token with each call.' };
  return { why: `Your token was refused: ${fault.text}. Sign in with a new one: nothing of what you have entered is lost.`, fault };
}
