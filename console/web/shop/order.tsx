// One order, as it is lived: each version as it comes, the payment, and the button that cancels.
import { useEffect, useState } from 'preact/hooks';
import { newKey } from '../parts/call';
import { Preview } from '../parts/calls';
import { Failed, type Fault } from '../parts/fault';
import { money } from '../parts/money';
import { Said } from '../parts/said';
import { send } from '../parts/send';
import { Time } from '../parts/time';
import { Chip, Copy, Empty, Id, Wrong } from '../parts/ui';
import { watch, type Link } from '../parts/watch';
import { cancelOrder, getOrder, getPayment, watchOrder, type Order, type OrderEvent, type Payment } from './calls';
import { refresh } from './user';
import { because, kind, outcome } from './words';

/** What is known of an order. */
interface Seen {
  readonly versions: readonly Order[];
  readonly link: Link;
  readonly fault?: Fault;
  readonly payment?: Payment;
}

const NOTHING: Seen = { versions: [], link: 'connecting' };

const hasEnded = (order: Order | undefined) => order?.status === 'FINISHED' || order?.status === 'CANCELLED';

/** Follows an order from its first version on. */
function useOrder(id: string): Seen {
  const [seen, setSeen] = useState(NOTHING);
  useEffect(() => {
    setSeen(NOTHING);
    let last = '0';
    const isStale = (version: string) => BigInt(version) <= BigInt(last);
    const onEvent = ({ order }: OrderEvent) => {
      if (!order?.version || isStale(order.version)) return;
      last = order.version;
      setSeen((now) => ({ ...now, versions: [...now.versions, order] }));
      if (hasEnded(order)) void refresh();
    };
    const onLink = (link: Link) => {
      setSeen((now) => ({ ...now, link: hasEnded(now.versions.at(-1)) ? 'ended' : link }));
      // A stream that ends without a version: why, the read says.
      if (link === 'ended' && last === '0') void read();
    };
    const read = () =>
      send(getOrder(id), true).then(
        (order) => onEvent({ order }),
        (error) => error instanceof Failed && setSeen((now) => ({ ...now, fault: error.fault })),
      );
    return watch({ call: watchOrder(id), onEvent, onLink, after: () => last });
  }, [id]);
  const order = seen.versions.at(-1);
  const isDecided = hasEnded(order);
  useEffect(() => {
    if (!isDecided) return;
    // An order that was cancelled before anybody was asked has no payment.
    send(getPayment(id), true).then(
      (payment) => setSeen((now) => ({ ...now, payment })),
      () => {},
    );
  }, [id, isDecided]);
  return seen;
}

const LINKS: Record<Link, string> = {
  connecting: 'connecting',
  live: 'live',
  lost: 'connection lost, reconnecting',
  ended: 'complete',
};

export function OrderView({ id }: { id: string }) {
  const seen = useOrder(id);
  const order = seen.versions.at(-1);
  const lost = seen.link === 'lost' ? 'The connection is lost: reconnecting.' : '';
  return (
    <>
      <Said text={lost || (order ? outcome(order, undefined) : '')} />
      <Life id={id} seen={seen} />
    </>
  );
}

function Life({ id, seen }: { id: string; seen: Seen }) {
  const { versions, link, fault, payment } = seen;
  const order = versions.at(-1);
  if (fault) return <Wrong fault={fault} />;
  if (!order) return <Empty>{link === 'lost' ? 'The server cannot be reached. Trying again…' : 'Waiting for the order…'}</Empty>;
  return (
    <article class="order">
      <div class="headline">
        <div>
          <p class="amount">{money(order.amount, order.currencyCode)}</p>
          <p class="description" dir="auto">
            {order.description ? <bdi>{order.description}</bdi> : <span class="faint">without a description</span>}
          </p>
        </div>
        <div class="state">
          <Chip kind={kind(order.status)}>
            {order.status}
            {order.cancelReason ? ` · ${because(order.cancelReason)}` : ''}
          </Chip>
          <p class={`link ${link}`}>{LINKS[link]}</p>
        </div>
      </div>
      <p>{outcome(order, payment)}</p>
      <ol class="timeline">
        {versions.map((version) => (
          <li key={version.version} class={kind(version.status)}>
            <strong>{step(version)}</strong>
            <Time at={version.updateTime ?? version.createTime} />
            <span class="faint">version {version.version}</span>
          </li>
        ))}
        {!hasEnded(order) && (
          <li class="ahead">
            <strong>Paid or cancelled</strong>
            <span class="faint">expires <Time at={order.expireTime} compact /></span>
          </li>
        )}
      </ol>
      {payment && <Proof payment={payment} />}
      <p class="faint ids">
        Order <Id id={id} /> <Copy text={id} what="the order's id" />
      </p>
      <Preview call={watchOrder(id)} what="How it is watched" />
      {!hasEnded(order) && <Cancel order={order} />}
    </article>
  );
}

function step(order: Order): string {
  if (order.status === 'FINISHED') return 'Finished';
  if (order.status === 'CANCELLED') return 'Cancelled';
  return order.cancelRequestTime ? 'Cancellation asked for' : 'Placed';
}

/** What payments has decided, and on what. */
function Proof({ payment }: { payment: Payment }) {
  return (
    <dl class="facts">
      <dt>Decision</dt>
      <dd>{payment.outcome}</dd>
      {payment.balanceObserved !== undefined && (
        <>
          <dt>Balance before</dt>
          <dd>{money(payment.balanceObserved, payment.currencyCode)}</dd>
        </>
      )}
      {payment.ledgerEntryId && (
        <>
          <dt>Ledger entry</dt>
          <dd>
            <Id id={payment.ledgerEntryId} />
          </dd>
        </>
      )}
      <dt>Decided</dt>
      <dd>
        <Time at={payment.decideTime} compact />
      </dd>
    </dl>
  );
}

/** One key as long as the order is looked at: a second click is a repetition. */
function Cancel({ order }: { order: Order }) {
  const [key] = useState(newKey);
  const [fault, setFault] = useState<Fault>();
  const [isUnderWay, setUnderWay] = useState(false);
  const call = cancelOrder(order.id ?? '', key);
  const isOver = isUnderWay || order.cancelRequestTime !== undefined;
  const cancel = async () => {
    if (isOver) return;
    setUnderWay(true);
    setFault(undefined);
    await send(call).catch((error) => setFault((error as Failed).fault));
    setUnderWay(false);
  };
  return (
    <div>
      <Wrong fault={fault} />
      <div class="buttons">
        <button type="button" aria-disabled={isOver} onClick={() => void cancel()}>
          Cancel this order
        </button>
      </div>
      <Preview call={call} />
    </div>
  );
}
