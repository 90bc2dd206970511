// Whose shop it is, their account, and what changes there.
import { useEffect, useRef } from 'preact/hooks';
import { Failed, unanswered, type Fault } from '../parts/fault';
import { owner, send } from '../parts/send';
import { Store, useStore } from '../parts/store';
import { claims, token } from '../parts/token';
import { watch, type Link } from '../parts/watch';
import { getAccount, watchOrders, type Account, type Order, type OrderEvent } from './calls';

const KEY = 'ordermesh.user';

function current(): string {
  return token.get() ? (claims(token.get()).sub ?? '') : (sessionStorage.getItem(KEY) ?? '');
}

/** The user; of a token its subject, otherwise whoever somebody says they are. Empty when nobody has said so. */
export const user = new Store(current());
token.follow(() => user.set(current()));
// What is known is of the one before.
user.follow(() => account.set({ state: 'unknown' }));
owner.set(user.get());
user.follow(() => owner.set(user.get()));

export function become(name: string): void {
  sessionStorage.setItem(KEY, name);
  user.set(name);
}

/** The account of the user. */
export type AccountState =
  | { state: 'unknown' }
  | { state: 'none' }
  | { state: 'there'; account: Account }
  | { state: 'failed'; fault: Fault };

export const account = new Store<AccountState>({ state: 'unknown' });

/** The currency of the account; before there is one, what the shop offers first. */
export function currencyOf(state: AccountState): string {
  return (state.state === 'there' && state.account.currencyCode) || 'RUB';
}

let asked = 0;
let answered = 0;

/** Reads the account again. */
export async function refresh(): Promise<void> {
  const name = user.get();
  if (!name) return account.set({ state: 'unknown' });
  asked += 1;
  const number = asked;
  const read = await send(getAccount(name), true).then(
    (found): AccountState => ({ state: 'there', account: found }),
    (error): AccountState => {
      const fault = error instanceof Failed ? error.fault : unanswered();
      return fault.reason === 'ACCOUNT_NOT_FOUND' ? { state: 'none' } : { state: 'failed', fault };
    },
  );
  // Of two questions, the later one is answered by what is newer. What was known stays where nothing can be read.
  if (user.get() !== name || number < answered || (read.state === 'failed' && account.get().state === 'there')) return;
  answered = number;
  account.set(read);
}

/** How the stream of all orders of the user is doing. */
export const link = new Store<Link>('connecting');

/** How often it has begun: it tells what changes from then on, and what was read before may have changed. */
const begun = new Store(0);

/** Calls `reload` whenever what was read before may have changed. */
export function useBeginnings(reload: () => void): void {
  const times = useStore(begun);
  const before = useRef(times);
  useEffect(() => {
    if (times !== before.current) reload();
    before.current = times;
  }, [times]);
}

/**
 * Orders that readers get in a frame at most, the others in the next ones: a frame has the work of so many rows, however many have changed at once.
 * At sixty frames a second that is 1,500 changes, and of an order that waits only the last state is drawn.
 */
const PER_FRAME = 25;

const readers = new Set<(orders: readonly Order[]) => void>();

/** Calls `reader`, as it is then, with orders that have changed: once for each frame of the screen at most, with the first that wait. */
export function useChanges(reader: (orders: readonly Order[]) => void): void {
  const latest = useRef(reader);
  latest.current = reader;
  useEffect(() => {
    const read = (orders: readonly Order[]) => latest.current(orders);
    readers.add(read);
    return () => void readers.delete(read);
  }, []);
}

/** Follows all orders of the user. */
export function useBoard(name: string): void {
  const who = useStore(token);
  useEffect(() => {
    if (!name) return;
    const waiting = new Map<string | undefined, Order>();
    let frame = 0;
    const hand = () => {
      const orders = [...waiting.values()].slice(0, PER_FRAME);
      for (const { id } of orders) waiting.delete(id);
      frame = waiting.size > 0 ? requestAnimationFrame(hand) : 0;
      readers.forEach((reader) => reader(orders));
      if (orders.some((order) => order.status === 'FINISHED')) soon();
    };
    const onEvent = ({ order }: OrderEvent) => {
      if (!order?.id) return;
      waiting.set(order.id, order);
      frame ||= requestAnimationFrame(hand);
    };
    const onLink = (now: Link) => {
      link.set(now);
      if (now !== 'live') return;
      begun.update((times) => times + 1);
      void refresh();
    };
    void refresh();
    const stop = watch({ call: watchOrders(name), onEvent, onLink });
    return () => {
      cancelAnimationFrame(frame);
      stop();
    };
  }, [name, who]);
}

let timer: ReturnType<typeof setTimeout> | undefined;

/** Reads the account soon: many orders that end together are one look. */
function soon(): void {
  timer ??= setTimeout(() => {
    timer = undefined;
    // A hidden tab asks nothing: when it is seen again everything is read.
    if (!document.hidden) void refresh();
  }, 300);
}
