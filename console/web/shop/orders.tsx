// All orders of the user: filtered, in pages without an end, and alive.
import { Component } from 'preact';
import { useRef, useState } from 'preact/hooks';
import { Preview } from '../parts/calls';
import { minorOf, money } from '../parts/money';
import { More } from '../parts/more';
import { usePages } from '../parts/pages';
import { go, link as to, usePlace } from '../parts/route';
import { useStore } from '../parts/store';
import { Time } from '../parts/time';
import { Card, Chip, Choice, Field } from '../parts/ui';
import { listOrders, type Order } from './calls';
import { account, currencyOf, link, useChanges } from './user';
import { because, kind } from './words';

/** New orders that a list takes in by itself; beyond that it says how many there are. */
const TAKEN_IN = 100;

const STATUSES = [
  ['', 'any status'],
  ['NEW', 'NEW'],
  ['FINISHED', 'FINISHED'],
  ['CANCELLED', 'CANCELLED'],
] as const;

const REASONS = [
  ['', 'any reason'],
  ['INSUFFICIENT_FUNDS', 'not enough money'],
  ['ACCOUNT_NOT_FOUND', 'no account'],
  ['CURRENCY_MISMATCH', 'another currency'],
  ['USER_REQUESTED', 'you cancelled it'],
  ['PAYMENT_EXPIRED', 'not paid in time'],
] as const;

const ORDERS = [
  ['', 'newest first'],
  ['create_time', 'oldest first'],
  ['amount desc', 'largest first'],
  ['amount', 'smallest first'],
] as const;

/** The filter of the API (AIP-160) that says what was chosen. */
function filterOf(chosen: Readonly<Record<string, string>>, currency: string): string {
  const { status = '', reason = '', from = '', to: upTo = '' } = chosen;
  const least = minorOf(from, currency);
  const most = minorOf(upTo, currency);
  return [
    status && `status = ${status}`,
    reason && `cancel_reason = ${reason}`,
    'minor' in least ? `amount >= ${least.minor}` : '',
    'minor' in most ? `amount <= ${most.minor}` : '',
  ]
    .filter((condition) => condition !== '')
    .join(' AND ');
}

export function Orders({ user }: { user: string }) {
  const chosen = usePlace().query;
  const currency = currencyOf(useStore(account));
  const state = useStore(link);
  const filter = filterOf(chosen, currency);
  const orderBy = chosen['sort'] ?? '';
  const list = (pageToken: string) => listOrders({ userId: user, filter, orderBy, pageToken });
  const pages = usePages(`${user} ${filter} ${orderBy}`, list, (answer) => ({
    items: answer.orders ?? [],
    next: answer.nextPageToken,
  }));
  const missed = useLive(pages.change, filter === '' && orderBy === '', `${user} ${filter} ${orderBy}`);
  const choose = (name: string) => (value: string) => go('orders', { ...chosen, [name]: value }, true);
  const wrong = (name: string) => {
    const text = chosen[name] ?? '';
    const amount = minorOf(text, currency);
    return text !== '' && 'wrong' in amount ? amount.wrong : undefined;
  };
  return (
    <Card title="Orders" aside={<span class={`link ${state}`}>{state === 'live' ? 'live' : 'reconnecting'}</span>}>
      <div class="filters">
        <Choice label="Status" value={chosen['status'] ?? ''} onChange={choose('status')} options={STATUSES} />
        <Choice label="Cancelled because" value={chosen['reason'] ?? ''} onChange={choose('reason')} options={REASONS} />
        <Field label={`From, ${currency}`} value={chosen['from'] ?? ''} onInput={choose('from')} mode="decimal" wrong={wrong('from')} />
        <Field label={`To, ${currency}`} value={chosen['to'] ?? ''} onInput={choose('to')} mode="decimal" wrong={wrong('to')} />
        <Choice label="Order" value={orderBy} onChange={choose('sort')} options={ORDERS} />
      </div>
      <Preview call={list('')} />
      {missed.number > 0 && (
        <button
          type="button"
          class="quiet"
          onClick={() => {
            missed.forget();
            pages.reload();
          }}
        >
          Show {missed.number} new {missed.number === 1 ? 'order' : 'orders'}
        </button>
      )}
      <ul class="rows" data-testid="orders">
        {pages.items.map((order) => (
          <Row key={order.id} order={order} />
        ))}
      </ul>
      <More pages={pages} empty={filter ? 'No order meets this filter.' : 'No orders yet. Place one at the counter.'} />
    </Card>
  );
}

/** Changes what is listed as it changes; new orders come on top, as long as they are few and the list is that of all. */
function useLive(change: (change: (items: readonly Order[]) => readonly Order[]) => void, isWhole: boolean, name: string) {
  const [missed, setMissed] = useState<ReadonlySet<string>>(new Set());
  const taken = useRef({ name, number: 0 });
  if (taken.current.name !== name) taken.current = { name, number: 0 };
  useChanges(
    (orders) =>
      change((items) => {
        const changed = new Map(orders.map((order) => [order.id, order]));
        const kept = items.map((item) => {
          const order = changed.get(item.id);
          changed.delete(item.id);
          return order && BigInt(order.version ?? 0) > BigInt(item.version ?? 0) ? order : item;
        });
        const fresh = [...changed.values()].filter((order) => isWhole || order.status === 'NEW');
        const room = isWhole ? Math.max(0, TAKEN_IN - taken.current.number) : 0;
        const shown = fresh.slice(0, room);
        taken.current.number += shown.length;
        const hidden = fresh.slice(room).map((order) => order.id ?? '');
        if (hidden.length > 0) setMissed((now) => new Set([...now, ...hidden]));
        // UUIDv7: the newest is the largest.
        shown.sort((a, b) => ((a.id ?? '') < (b.id ?? '') ? 1 : -1));
        return [...shown, ...kept];
      }),
    [name],
  );
  const forget = () => {
    taken.current.number = 0;
    setMissed(new Set());
  };
  return { number: missed.size, forget };
}

/** Drawn anew only when its order has changed: a thousand rows stand beside it. */
class Row extends Component<{ order: Order }> {
  override shouldComponentUpdate(next: { order: Order }): boolean {
    return next.order !== this.props.order;
  }

  override render({ order }: { order: Order }) {
    return (
      <li>
        <a href={to('', { order: order.id ?? '' })} class="rowlink">
          <span class="what">{order.description || <span class="faint">without a description</span>}</span>
          <Chip kind={kind(order.status)}>
            {order.status}
            {order.cancelReason ? ` · ${because(order.cancelReason)}` : ''}
          </Chip>
          <span class="number">{money(order.amount, order.currencyCode)}</span>
          <Time at={order.createTime} compact />
        </a>
      </li>
    );
  }
}
