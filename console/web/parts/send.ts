// Sends calls, remembers what was sent, and repeats a write whose answer was lost until an answer comes.
import type { Call } from './call';
import { url } from './call';
import { learn } from './clock';
import { Failed, faultOf, isRepeatable, unanswered, type Fault } from './fault';
import { Store } from './store';
import { token, want } from './token';

/** Who is here: writes are sent for who made them, and for nobody else. */
export const owner = new Store('');

/** A call that was sent. */
export interface Sent {
  readonly number: number;
  readonly call: Call<unknown>;
  readonly withToken: boolean;
  /** As `Date.now()` counts. */
  readonly began: number;
  /** How often it was sent. */
  readonly attempts: number;
  readonly state: 'sent' | 'repeats' | 'answered' | 'failed' | 'stopped';
  readonly status?: number;
  /** Until its answer, in milliseconds. */
  readonly took?: number;
  /** The answer is that of an earlier attempt. */
  readonly replayed?: boolean;
  readonly fault?: Fault;
  /** When it is sent again, as `Date.now()` counts. */
  readonly again?: number;
}

/** What was sent, the newest first. */
export const log = new Store<readonly Sent[]>([]);

/** Writes that wait to be sent again. */
export const repeating = new Store<readonly Sent[]>([]);

// What was sent is for who sent it.
owner.follow(() => {
  log.set([]);
  repeating.set([]);
});

const KEPT = 30;
/** Of each page its own: behind one origin there may be several. */
const PENDING = `ordermesh.kept ${location.pathname.replace(/[^/]*$/, '')}`;
const LONGEST_PAUSE = 8_000;
/** What has not been answered by then is not: edge and services give up after 10 s, and what lies between them and the page says nothing. */
const PATIENCE = 20_000;

let numbers = 0;
const wakers = new Map<number, (goOn: boolean) => void>();

/** Sends a write at once that waits to be sent again, or gives it up. */
export function wake(sent: Sent, goOn: boolean): void {
  wakers.get(sent.number)?.(goOn);
}

function note(sent: Sent): void {
  const is = (other: Sent) => other.number === sent.number;
  log.update((all) => (all.some(is) ? all.map((one) => (is(one) ? sent : one)) : [sent, ...all].slice(0, KEPT)));
  repeating.update((all) => {
    const others = all.filter((one) => !is(one));
    return sent.state === 'repeats' ? [...others, sent] : others;
  });
}

/** The answer to a call; a write is repeated until there is one. `quiet` reads are not noted. Throws [`Failed`]. */
export async function send<Answer>(call: Call<Answer>, quiet = false): Promise<Answer> {
  numbers += 1;
  const by = owner.get();
  const began = { number: numbers, call, began: Date.now(), attempts: 0, withToken: token.get() !== '' };
  const isGone = () => owner.get() !== by;
  const say = (sent: Sent) => quiet || isGone() || note(sent);
  if (call.key) keep(call, by);
  for (let attempts = 1; ; attempts += 1) {
    const sent = { ...began, attempts, withToken: token.get() !== '' };
    say({ ...sent, state: 'sent' });
    const since = performance.now();
    const outcome = await attempt(call);
    const took = Math.round(performance.now() - since);
    if ('answer' in outcome) {
      if (call.key) forget(call);
      // Who has made it is not there any more to see what came of it.
      if (call.key && isGone()) throw new Failed(unanswered());
      say({ ...sent, state: 'answered', status: outcome.status, took, replayed: outcome.replayed });
      return outcome.answer as Answer;
    }
    const fault = outcome.fault;
    const isRefused = fault.status === 401;
    if (isRefused && !isGone()) want(fault);
    // A write that was sent is repeated also after somebody has signed in again.
    const goOn = call.key && (isRepeatable(fault) || isRefused);
    if (!goOn) {
      if (call.key) forget(call);
      say({ ...sent, state: 'failed', status: fault.status, took, fault });
      throw new Failed(fault);
    }
    const pause = isRefused ? undefined : (fault.retryAfter ?? Math.min(1_000 * 2 ** (attempts - 1), LONGEST_PAUSE));
    const waits: Sent = { ...sent, state: 'repeats', status: fault.status, took, fault };
    say(pause === undefined ? waits : { ...waits, again: Date.now() + pause });
    const isStopped = !isGone() && !(await pauseOf(began.number, pause));
    if (isStopped) keep(call, by, true);
    // What is kept for somebody who has left goes on when they are here again.
    if (isStopped || isGone()) {
      say({ ...waits, state: 'stopped' });
      throw new Failed({ ...fault, ...STOPPED });
    }
  }
}

/** What is said of a write whose outcome nobody knows. */
export const STOPPED = {
  text: 'You have stopped it. Whether it took effect is not known.',
  advice: 'Look in the statement and among the orders first. Sent again unchanged, it has the same key, and is done once.',
} as const;

/** Waits so long, or until somebody has signed in; false when it is given up. */
function pauseOf(number: number, pause: number | undefined): Promise<boolean> {
  return new Promise((resolve) => {
    const leave = [
      () => wakers.delete(number),
      token.follow(() => token.get() && end(true)),
      owner.follow(() => end(true)),
      pause === undefined ? () => {} : clearTimeout.bind(undefined, setTimeout(() => end(true), pause)),
    ];
    const end = (goOn: boolean) => {
      leave.forEach((one) => one());
      resolve(goOn);
    };
    wakers.set(number, end);
  });
}

type Outcome = { answer: unknown; status: number; replayed: boolean } | { fault: Fault };

async function attempt(call: Call<unknown>): Promise<Outcome> {
  const headers = new Headers({ accept: 'application/json, application/problem+json' });
  if (call.body) headers.set('content-type', 'application/json');
  if (call.key) headers.set('idempotency-key', call.key);
  const withToken = token.get() !== '';
  if (withToken) headers.set('authorization', `Bearer ${token.get()}`);
  const body = call.body ? JSON.stringify(call.body) : null;
  try {
    const signal = AbortSignal.timeout(PATIENCE);
    const sent = Date.now();
    const answer = await fetch(url(call), { method: call.method, headers, body, signal, cache: 'no-cache' });
    learn(answer.headers.get('date'), sent, Date.now());
    if (!answer.ok) return { fault: await faultOf(answer, withToken) };
    // A body that breaks off is an answer that was lost.
    const replayed = answer.headers.get('idempotency-replayed') === 'true';
    return { answer: await answer.json(), status: answer.status, replayed };
  } catch (error) {
    return { fault: unanswered(error instanceof DOMException && error.name === 'TimeoutError') };
  }
}

/** A write without an answer. */
interface Kept {
  readonly call: Call<unknown>;
  readonly by: string;
  /** It is not sent again by itself. */
  readonly isStopped: boolean;
}

/** Writes without an answer outlive the page: whoever loads it again repeats their own by the same keys. */
function pending(): Kept[] {
  try {
    return JSON.parse(sessionStorage.getItem(PENDING) ?? '[]');
  } catch {
    return [];
  }
}

const others = (call: Call<unknown>) => pending().filter((one) => one.call.key !== call.key);

function keep(call: Call<unknown>, by: string, isStopped = false): void {
  sessionStorage.setItem(PENDING, JSON.stringify([...others(call), { call, by, isStopped }]));
}

function forget(call: Call<unknown>): void {
  sessionStorage.setItem(PENDING, JSON.stringify(others(call)));
}

/** The key of the same write that was stopped: sent by another key, it might be done twice. `same` makes the write with a key. */
export function stoppedKey(same: (key: string) => Call<unknown> | undefined): string | undefined {
  const isSame = ({ call, by, isStopped }: Kept) => isStopped && by === owner.get() && JSON.stringify(same(call.key ?? '')) === JSON.stringify(call);
  return pending().find(isSame)?.call.key;
}

/** What is kept for others than who is here: titles by name. */
export function keptForOthers(): [name: string, titles: string[]][] {
  const kept = new Map<string, string[]>();
  for (const { call, by, isStopped } of pending()) {
    if (!isStopped && by !== owner.get()) kept.set(by, [...(kept.get(by) ?? []), call.title]);
  }
  return [...kept];
}

/** Repeats the writes of who is here that had no answer when they left, or when the page was left; `then` gets each answer. */
export function resume(then: (call: Call<unknown>, answer: unknown) => void): void {
  for (const { call } of pending().filter(({ by, isStopped }) => by === owner.get() && !isStopped)) {
    send(call).then(
      (answer) => then(call, answer),
      () => {},
    );
  }
}
