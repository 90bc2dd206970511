// Whose shop it is, their account, and what changes there.
import { useEffect } from 'preact/hooks';
import { Failed, type Fault } from '../parts/fault';
import { send } from '../parts/send';
import { Store } from '../parts/store';
import { claims, token } from '../parts/token';
import { watch, type Link } from '../parts/watch';
import { getAccount, type Account, type Order, type OrderEvent } from './calls';

const KEY = 'ordermesh.user';

function current(): string {
  return token.get() ? (claims(token.get()).sub ?? '') : (sessionStorage.getItem(KEY) ?? '');
}

/** The user; of a token its subject, otherwise whoever somebody says they are. Empty when nobody has said so. */
export const user = new Store(current());
token.follow(() => user.set(current()));

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

/** Reads the account again. */
export async function refresh(): Promise<void> {
  const name = user.get();
  if (!name) return account.set({ state: 'unknown' });
  try {
    const read = await send(getAccount(name), true);
    if (user.get() === name) account.set({ state: 'there', account: read });
  } catch (error) {
    if (!(error instanceof Failed) || user.get() !== name) return;
    const { fault } = error;
    if (fault.reason === 'ACCOUNT_NOT_FOUND') account.set({ state: 'none' });
    else account.set({ state: 'failed', fault });
  }
}

/** How the stream of all orders of the user is doing. */
export const link = new Store<Link>('connecting');

const readers = new Set<(orders: readonly Order[]) => void>();

/** Calls `reader` with orders that have changed, once for each frame of the screen at most. */
export function useChanges(reader: (orders: readonly Order[]) => void, about: readonly unknown[]): void {
  useEffect(() => {
    readers.add(reader);
    return () => void readers.delete(reader);
  }, about);
}

/** Follows all orders of the user, while the page is to be seen. */
export function useBoard(name: string): void {
  useEffect(() => {
    if (!name) return;
    let stop = () => {};
    let waiting = new Map<string, Order>();
    let frame = 0;
    const hand = () => {
      frame = 0;
      const orders = [...waiting.values()];
      waiting = new Map();
      readers.forEach((reader) => reader(orders));
      if (orders.some((order) => order.status === 'FINISHED')) soon();
    };
    const onEvent = ({ order }: OrderEvent) => {
      if (!order?.id) return;
      waiting.set(order.id, order);
      frame ||= requestAnimationFrame(hand);
    };
    const turn = () => {
      stop();
      stop = () => {};
      if (document.hidden) return;
      void refresh();
      stop = watch({ path: 'gateway/orders:watch', query: { user_id: name }, onEvent, onLink: (now) => link.set(now) });
    };
    turn();
    const leave = token.follow(turn);
    document.addEventListener('visibilitychange', turn);
    return () => {
      leave();
      document.removeEventListener('visibilitychange', turn);
      cancelAnimationFrame(frame);
      stop();
    };
  }, [name]);
}

let timer: ReturnType<typeof setTimeout> | undefined;

/** Reads the account soon: many orders that end together are one look. */
function soon(): void {
  timer ??= setTimeout(() => {
    timer = undefined;
    void refresh();
  }, 300);
}
