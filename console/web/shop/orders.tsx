// All orders of the user: filtered, in pages without an end, and alive.
import { Component } from 'preact';
import { useRef } from 'preact/hooks';
import { Preview } from '../parts/calls';
import { money } from '../parts/money';
import { More } from '../parts/more';
import { usePages } from '../parts/pages';
import { go, goByTyping, link as to, usePlace } from '../parts/route';
import { Said } from '../parts/said';
import { useStore } from '../parts/store';
import { Time } from '../parts/time';
import { Card, Chip, Choice, Field, isOneOf } from '../parts/ui';
import { listOrders, type Order } from './calls';
import { filterOf, Seen, useLive, wrongAmounts } from './live';
import { account, currencyOf, link, useBeginnings } from './user';
import { because, kind } from './words';

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

export function Orders({ user }: { user: string }) {
  const chosen = usePlace().query;
  const currency = currencyOf(useStore(account));
  const state = useStore(link);
  const filter = filterOf(chosen, currency);
  const orderBy = chosen['sort'] ?? '';
  const wrong = wrongAmounts(chosen, currency);
  const isChoice = isOneOf(STATUSES, chosen['status'] ?? '') && isOneOf(REASONS, chosen['reason'] ?? '') && isOneOf(ORDERS, orderBy);
  // Half a filter would list what nobody has asked for.
  const isListed = isChoice && !wrong.from && !wrong.to;
  const name = isListed ? `${filter} ${orderBy}` : '';
  const list = (pageToken: string, pageSize?: number) =>
    isListed ? listOrders({ userId: user, filter, orderBy, pageToken }, pageSize) : undefined;
  const seen = useRef(new Seen());
  const pages = usePages(name, list, (answer) => ({
    items: (answer.orders ?? []).map((order) => seen.current.latest(order)),
    next: answer.nextPageToken,
  }));
  const missed = useLive(name, pages, seen.current, chosen, currency, isListed);
  useBeginnings(missed.show);
  const choose = (name: string) => (value: string) => go('orders', { ...chosen, [name]: value });
  const write = (name: string) => (value: string) => goByTyping(name, 'orders', { ...chosen, [name]: value });
  return (
    <Card title="Orders" aside={<span class={`link ${state}`}>{state === 'live' ? 'live' : 'reconnecting'}</span>}>
      <div class="filters">
        <Choice label="Status" value={chosen['status'] ?? ''} onChange={choose('status')} options={STATUSES} />
        <Choice label="Cancelled because" value={chosen['reason'] ?? ''} onChange={choose('reason')} options={REASONS} />
        <Field label={`From, ${currency}`} value={chosen['from'] ?? ''} onInput={write('from')} mode="decimal" wrong={wrong.from} />
        <Field label={`To, ${currency}`} value={chosen['to'] ?? ''} onInput={write('to')} mode="decimal" wrong={wrong.to} />
        <Choice label="Sort" value={orderBy} onChange={choose('sort')} options={ORDERS} />
      </div>
      <Preview call={list('')} />
      <Said text={missed.sentence} />
      {missed.number > 0 && (
        <button type="button" class="quiet" onClick={missed.show}>
          Show {missed.number} new {missed.number === 1 ? 'order' : 'orders'}
        </button>
      )}
      <ul class="rows" data-testid="orders">
        {pages.items.map((order) => (
          <Row key={order.id} order={order} />
        ))}
      </ul>
      <More pages={pages} empty={!isListed ? 'Nothing is listed by what is wrong above.' : filter ? 'No order meets this filter.' : 'No orders yet. Place one at the counter.'} />
    </Card>
  );
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
          <span class="what" dir="auto">
            {order.description ? <bdi>{order.description}</bdi> : <span class="faint">without a description</span>}
          </span>
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
