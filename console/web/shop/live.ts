// A list of orders that changes as they do: what is listed in place, and what is new on top, as long as it is little.
import { useEffect, useRef, useState } from 'preact/hooks';
import { minorOf } from '../parts/money';
import type { Pages } from '../parts/pages';
import type { Order } from './calls';
import { useChanges } from './user';

/** New orders that a list takes in by itself; beyond that it says how many there are. */
const TAKEN_IN = 100;

/** What was chosen above the list: `status`, `reason`, `from`, `to` and `sort`. */
export type Chosen = Readonly<Record<string, string>>;

/** The least and the most of an amount that were chosen, in minor units. */
function range(chosen: Chosen, currency: string): { least?: string; most?: string } {
  const [least, most] = [minorOf(chosen['from'] ?? '', currency), minorOf(chosen['to'] ?? '', currency)];
  return { ...('minor' in least ? { least: least.minor } : {}), ...('minor' in most ? { most: most.minor } : {}) };
}

/** What is wrong with the amounts that were chosen. */
export function wrongAmounts(chosen: Chosen, currency: string): { from?: string; to?: string } {
  const wrong = (name: string) => {
    const amount = minorOf(chosen[name] ?? '', currency);
    return chosen[name] && 'wrong' in amount ? { [name]: amount.wrong } : {};
  };
  return { ...wrong('from'), ...wrong('to') };
}

/** The filter of the API (AIP-160) that says what was chosen. */
export function filterOf(chosen: Chosen, currency: string): string {
  const { status, reason } = chosen;
  const { least, most } = range(chosen, currency);
  return [
    status && `status = ${status}`,
    reason && `cancel_reason = ${reason}`,
    least && `amount >= ${least}`,
    most && `amount <= ${most}`,
  ]
    .filter((condition) => condition)
    .join(' AND ');
}

/** Whether an order is among those that were chosen. */
function meets(order: Order, chosen: Chosen, currency: string): boolean {
  const { status, reason } = chosen;
  const { least, most } = range(chosen, currency);
  const amount = BigInt(order.amount ?? 0);
  return (
    (!status || order.status === status) &&
    (!reason || order.cancelReason === reason) &&
    (!least || amount >= BigInt(least)) &&
    (!most || amount <= BigInt(most))
  );
}

/** The later version of an order. */
function newer(order: Order, other: Order | undefined): Order {
  return other && BigInt(other.version ?? 0) > BigInt(order.version ?? 0) ? other : order;
}

/** How long an answer may be on its way, and be older than what has come meanwhile, in milliseconds. */
const LATE = 10_000;

/** The last orders that have changed: an answer that was on its way meanwhile has older versions of them, or none. */
export class Seen {
  private readonly orders = new Map<string, { order: Order; at: number }>();

  note(orders: readonly Order[]): void {
    for (const order of orders) {
      const id = order.id ?? '';
      this.orders.delete(id);
      this.orders.set(id, { order, at: Date.now() });
    }
    for (const oldest of this.orders.keys()) {
      if (this.orders.size <= 1_000) break;
      this.orders.delete(oldest);
    }
  }

  latest(order: Order): Order {
    return newer(order, this.orders.get(order.id ?? '')?.order);
  }

  recent(): Order[] {
    return [...this.orders.values()].filter(({ at }) => at > Date.now() - LATE).map(({ order }) => order);
  }
}

const idOf = (order: Order | undefined) => order?.id ?? '';

/** The newest come first: their ids are UUIDv7. */
const byAge = (a: Order, b: Order) => (idOf(a) < idOf(b) ? 1 : -1);

/**
 * Follows the changes of a list, unless what was chosen means nothing; `show` reads it anew, with the `number` of orders that it has not taken in.
 * What has happened in a sentence.
 */
export function useLive(name: string, pages: Pages<Order>, seen: Seen, chosen: Chosen, currency: string, isListed: boolean) {
  const [missed, setMissed] = useState<ReadonlySet<string>>(new Set());
  const taken = useRef(0);
  const ended = useRef({ finished: 0, cancelled: 0 });
  const isWhole = Object.values(chosen).every((value) => value === '');
  const forget = () => {
    taken.current = 0;
    setMissed(new Set());
  };
  useEffect(forget, [name]);
  /** What is not listed and not above this has its place on a page that was not loaded. A status that was chosen is met anew. */
  const floor = (items: readonly Order[]) => {
    if (isWhole) return pages.hasMore ? idOf(items.at(-1)) : '';
    return chosen['status'] || chosen['reason'] ? '' : items.reduce((most, item) => (idOf(item) > most ? idOf(item) : most), '');
  };
  const take = (orders: readonly Order[]) =>
    pages.change((items) => {
      const changed = new Map(orders.map((order) => [order.id, order]));
      const kept = items.map((item) => {
        const order = changed.get(item.id);
        changed.delete(item.id);
        return newer(item, order);
      });
      const least = floor(items);
      const fresh = [...changed.values()].filter((order) => idOf(order) > least && meets(order, chosen, currency));
      const room = isWhole ? Math.max(0, TAKEN_IN - taken.current) : 0;
      const shown = fresh.slice(0, room);
      taken.current += shown.length;
      const hidden = fresh.slice(room).map(idOf);
      if (hidden.length > 0) setMissed((now) => new Set([...now, ...hidden]));
      return shown.length > 0 ? [...shown, ...kept].sort(byAge) : kept;
    });
  useChanges((orders) => {
    seen.note(orders);
    for (const { status } of orders) {
      if (status === 'FINISHED') ended.current.finished += 1;
      if (status === 'CANCELLED') ended.current.cancelled += 1;
    }
    if (isListed) take(orders);
  });
  // What was read may be older than what has come meanwhile.
  useEffect(() => {
    if (pages.readings > 0) take(seen.recent());
  }, [pages.readings]);
  const show = () => {
    forget();
    pages.reload();
  };
  const { finished, cancelled } = ended.current;
  const sentence = finished + cancelled > 0 ? `${finished} finished and ${cancelled} cancelled since the list was opened.` : '';
  return { number: missed.size, show, sentence: missed.size > 0 ? `${sentence} ${missed.size} new ones are not listed.` : sentence };
}
