// What is paused, by whom and why.
import { useState } from 'preact/hooks';
import { Failed, type Fault } from '../parts/fault';
import { go, usePlace } from '../parts/route';
import { Said } from '../parts/said';
import { send } from '../parts/send';
import { useStore } from '../parts/store';
import { Time } from '../parts/time';
import { Card, Choice, Empty, Field, Wrong } from '../parts/ui';
import { Act, lost, Services, type By } from './act';
import { endPause, listPauses, pause, type NewPause, type Pause } from './calls';
import { usePoll } from './poll';
import { short } from './rehearsal';
import { acts, operator, services } from './services';

/** Kinds of messages that a service subscribes to, as suggestions. */
const KINDS: Readonly<Record<string, readonly string[]>> = {
  payments: ['ordermesh.orders.v1.OrderPlaced', 'ordermesh.payments.v1.VoidPayment', 'ordermesh.payments.v1.RestoreDecision'],
  orders: ['ordermesh.payments.v1.PaymentDecided'],
};

export function Pauses() {
  const names = (useStore(services) ?? []).map(({ name }) => name);
  const chosen = usePlace().query['service'] ?? '';
  const service = names.includes(chosen) ? chosen : (names[0] ?? '');
  const { answer, fault, again } = usePoll(service, () => (service ? listPauses(service) : undefined), 2_000);
  const pauses = answer?.pauses ?? [];
  /** What somebody wanted to resume when others had. */
  const [gone, setGone] = useState<Pause>();
  if (!service) return <Empty>This process has nothing to pause.</Empty>;
  return (
    <>
      <Services names={names} chosen={service} choose={(name) => go('pauses', { service: name })} />
      <Card title="Paused" aside={<span class="faint">{service}</span>}>
        <Said text={answer ? `Pauses of ${service}: ${pauses.length}` : ''} />
        <Wrong fault={fault} />
        {answer && pauses.length === 0 && <Empty>Nothing is paused.</Empty>}
        <ul class="redrives" data-testid="pauses">
          {pauses.map((one) => (
            <li key={one.sequence}>
              <One service={service} one={one} again={again} say={setGone} />
            </li>
          ))}
        </ul>
        <div aria-live="polite" class="repeats">
          {gone && (
            <p class="notice good">
              {of(gone)}: it has ended already, by somebody else.
            </p>
          )}
        </div>
      </Card>
      <New key={service} service={service} again={again} />
    </>
  );
}

/** What a pause is of, in words. */
function of(one: Pause): string {
  if (one.part === 'RELAY') return 'The relay: nothing is published';
  const kind = one.kind ? ` of ${short(one.kind)}` : '';
  const partition = one.partition === undefined ? '' : ` in partition ${one.partition}`;
  return `The consumer${one.consumer ? ` ${one.consumer}` : ''}: nothing${kind} is handled${partition}`;
}

function One({ service, one, again, say }: { service: string; one: Pause; again: () => void; say: (gone?: Pause) => void }) {
  const mayAct = useStore(acts);
  const name = useStore(operator);
  const [fault, setFault] = useState<Fault>();
  const end = () => {
    say(undefined);
    setFault(undefined);
    return send(endPause(service, one.sequence ?? '', name.trim() || 'console')).then(
      again,
      (error) => {
        if (!(error instanceof Failed)) return;
        if (error.fault.reason !== 'PAUSE_NOT_FOUND') return lost(error, 'what is paused', setFault, again);
        // Somebody else was quicker: it is what was wanted.
        say(one);
        again();
      },
    );
  };
  return (
    <div class="redrive">
      <div class="headline">
        <strong>{of(one)}</strong>
        {mayAct && (
          <button type="button" class="small" onClick={() => void end()}>
            Resume
          </button>
        )}
      </div>
      <p class="faint">
        by <bdi>{one.operator}</bdi>: <bdi>{one.reason}</bdi>, since <Time at={one.createTime} />
      </p>
      <Wrong fault={fault} />
    </div>
  );
}

const PARTS = [
  ['CONSUMER', 'what handles messages'],
  ['RELAY', 'what publishes messages'],
] as const;

function New({ service, again }: { service: string; again: () => void }) {
  const mayAct = useStore(acts);
  const [part, setPart] = useState<'CONSUMER' | 'RELAY'>('CONSUMER');
  const [kind, setKind] = useState('');
  const [partition, setPartition] = useState('');
  if (!mayAct) return null;
  const wrong = partition === '' || /^\d{1,4}$/.test(partition) ? undefined : 'A number from 0, or nothing for all.';
  const body = (by: By): NewPause => ({
    part,
    ...(part === 'CONSUMER' && kind ? { kind } : {}),
    ...(part === 'CONSUMER' && partition ? { partition: Number(partition) } : {}),
    ...by,
  });
  return (
    <Card title="Pause something">
      <p>What is paused loses nothing: messages wait, and go on in their order. A pause outlives restarts.</p>
      <Act
        button="Pause it"
        needsReason
        make={(by, key) => (wrong ? undefined : pause(service, body(by), key))}
        then={again}
        look="what is paused"
        again={again}
        labels={part === 'CONSUMER' ? { kind: 'Only this kind', partition: 'Only this partition' } : {}}
        fields={(said) => (
          <div class="filters">
            <Choice label="What" value={part} onChange={(chosen) => setPart(chosen === 'RELAY' ? 'RELAY' : 'CONSUMER')} options={PARTS} />
            {part === 'CONSUMER' && (
              <>
                <Field label="Only this kind" value={kind} onInput={setKind} options={KINDS[service] ?? []} wrong={said('kind')} placeholder="all" />
                <Field
                  label="Only this partition"
                  value={partition}
                  onInput={setPartition}
                  mode="numeric"
                  wrong={wrong ?? said('partition')}
                  placeholder="all"
                />
              </>
            )}
          </div>
        )}
      />
    </Card>
  );
}
