// Where an order is, and why it does not get on.
import { useLayoutEffect, useState } from 'preact/hooks';
import { Preview } from '../parts/calls';
import { money } from '../parts/money';
import { go, link as to, usePlace } from '../parts/route';
import { useStore } from '../parts/store';
import { span, Time } from '../parts/time';
import { Card, Chip, Copy, Empty, Field, Id, Wrong } from '../parts/ui';
import { explain, type Explanation } from './calls';
import { usePoll } from './poll';
import { services } from './services';

type Station = NonNullable<Explanation['stations']>[number];

const STATIONS: Readonly<Record<string, string>> = {
  PLACED: 'Placed',
  CANCEL_REQUESTED: 'Cancellation asked for',
  IN_OUTBOX: 'In the outbox of orders',
  PUBLISHED: 'Published',
  DELIVERED: 'Delivered to payments',
  DECIDED: 'Decided',
  DECISION_PUBLISHED: 'Decision published',
  ENDED: 'Ended',
};

const KINDS: Readonly<Record<string, string>> = { PASSED: 'good', WAITING: 'warn', AHEAD: 'ahead', UNKNOWN: 'unknown' };

export function Explain() {
  const id = usePlace().query['id'] ?? '';
  const [text, setText] = useState(id);
  // Of a link, or of the button that goes back; before anybody can type another one.
  useLayoutEffect(() => setText(id), [id]);
  const names = (useStore(services) ?? []).map(({ name }) => name);
  if (!names.includes('orders')) {
    return <Empty>This process does not serve orders: ask the admin listener of the one that does.</Empty>;
  }
  return (
    <Card title="Where is an order?">
      <form
        class="search"
        onSubmit={(event) => {
          event.preventDefault();
          go('order', { id: text.trim() });
        }}
      >
        <Field label="The order's id" value={text} onInput={setText} placeholder="0198…" required wide />
        <div class="buttons">
          <button class="primary">Explain</button>
        </div>
      </form>
      {id && <Way key={id} id={id} />}
    </Card>
  );
}

function Way({ id }: { id: string }) {
  const { answer, fault, again } = usePoll(id, () => explain(id), 2_000);
  if (!answer) return fault ? <Wrong fault={fault} again={again} /> : <Empty>Looking…</Empty>;
  const { order, stuck } = answer;
  const cause = stuck?.cause ?? '';
  return (
    <div class="order" data-testid="explanation">
      <Wrong fault={fault} />
      <div class="headline">
        <p class="amount">{money(order?.amount, order?.currencyCode)}</p>
        <Chip kind={order?.status === 'FINISHED' ? 'good' : order?.status === 'CANCELLED' ? 'bad' : 'busy'}>
          {order?.status} {order?.cancelReason ?? ''}
        </Chip>
        <span class="faint">of {order?.userId}</span>
      </div>
      {stuck && (
        <div class={cause === 'UNDER_WAY' ? 'notice good' : 'notice warn'}>
          <p>
            <strong>{cause}</strong> {stuck.sentence}
          </p>
          {stuck.error && !stuck.sentence?.includes(stuck.error) && <p>{stuck.error}</p>}
          {stuck.messagesBefore && stuck.messagesBefore !== '0' && (
            <p>
              {stuck.messagesBefore} messages before it{stuck.estimate ? `, about ${span(parseFloat(stuck.estimate))}` : ''}.
            </p>
          )}
          {stuck.since && (
            <p>
              Since <Time at={stuck.since} />
            </p>
          )}
          {stuck.nextAttemptTime && (
            <p>
              Tried again <Time at={stuck.nextAttemptTime} />
            </p>
          )}
          {stuck.parkedSequence && stuck.parkedSequence !== '0' && (
            <p>
              <a href={to('parked', { service: stuck.service ?? '', sequence: stuck.parkedSequence })}>
                Look at message {stuck.parkedSequence}
              </a>
            </p>
          )}
        </div>
      )}
      {answer.paymentsError && <p class="notice warn">Payments could not be asked: {answer.paymentsError}</p>}
      <ol class="timeline">
        {(answer.stations ?? []).map((station) => (
          <Stop key={station.name} station={station} />
        ))}
      </ol>
      <Preview call={explain(id)} />
    </div>
  );
}

function Stop({ station }: { station: Station }) {
  const state = station.state ?? 'UNKNOWN';
  return (
    <li class={KINDS[state] ?? ''}>
      <strong>{STATIONS[station.name ?? ''] ?? station.name}</strong>
      {station.time ? <Time at={station.time} /> : <span class="faint">{state === 'PASSED' ? 'passed' : state.toLowerCase()}</span>}
      {station.note && <span class="faint">{station.note}</span>}
      {station.traceId && (
        <span class="ids faint">
          trace <Id id={station.traceId} />
          <Copy text={station.traceId} what={`the trace id of ${station.name}`} />
        </span>
      )}
    </li>
  );
}
