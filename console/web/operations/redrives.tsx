// Redrives in the background: how far they have come, and the button that stops them.
import { Failed, type Fault } from '../parts/fault';
import { useEffect, useRef, useState } from 'preact/hooks';
import { Said } from '../parts/said';
import { send } from '../parts/send';
import { useStore } from '../parts/store';
import { Time } from '../parts/time';
import { Card, Chip, Wrong } from '../parts/ui';
import { lost } from './act';
import { listRedrives, stopRedrive, type Redrive } from './calls';
import { usePoll } from './poll';
import { acts, operator } from './services';

const KINDS = { RUNNING: 'busy', STOPPED: 'warn', FINISHED: 'good', STATE_UNSPECIFIED: 'plain' } as const;

/** Those that are shown at once: the list of messages is below them. */
const LATEST = 3;

export function Redrives({ service, round, changed }: { service: string; round: number; changed: () => void }) {
  const { answer, fault, again } = usePoll(service, () => listRedrives(service, ''), 1_000);
  useEffect(() => {
    if (round > 0) again();
  }, [round]);
  const redrives = answer?.redrives ?? [];
  // Messages have left, or have come back; also where nobody has seen it run.
  const ended = answer && redrives.filter(({ state }) => state !== 'RUNNING').map(({ redriveId }) => redriveId).join(' ');
  const before = useRef<string | undefined>(undefined);
  useEffect(() => {
    if (ended !== undefined && before.current !== undefined && ended !== before.current) changed();
    before.current = ended;
  }, [ended]);
  const list = (some: readonly Redrive[]) => (
    <ul class="redrives">
      {some.map((redrive) => (
        <li key={redrive.redriveId}>
          <One service={service} redrive={redrive} again={again} />
        </li>
      ))}
    </ul>
  );
  return (
    <>
      <Said text={spoken(redrives[0])} />
      {(fault || redrives.length > 0) && (
        <Card title="Redrives" aside={<span class="faint">{service}</span>}>
          <Wrong fault={fault} />
          <div data-testid="redrives">{list(redrives.slice(0, LATEST))}</div>
          {redrives.length > LATEST && (
            <details class="preview">
              <summary>Earlier ones: {redrives.length - LATEST}</summary>
              {list(redrives.slice(LATEST))}
            </details>
          )}
        </Card>
      )}
    </>
  );
}

/** How the last one is doing. */
function spoken(last: Redrive | undefined): string {
  if (!last) return '';
  return `Redrive ${last.redriveId} is ${last.state?.toLowerCase()}: ${last.done ?? 0} are done, ${last.failed ?? 0} failed, ${last.left ?? 0} to go.`;
}

function One({ service, redrive, again }: { service: string; redrive: Redrive; again: () => void }) {
  const [done, failed, left, total] = [redrive.done, redrive.failed, redrive.left, redrive.total].map((text) => Number(text ?? 0));
  const taken = redrive.state === 'FINISHED' ? (total ?? 0) - (done ?? 0) - (failed ?? 0) - (left ?? 0) : 0;
  return (
    <div class="redrive">
      <div class="headline">
        <strong>Redrive {redrive.redriveId}</strong>
        <Chip kind={KINDS[redrive.state ?? 'STATE_UNSPECIFIED']}>{redrive.state?.toLowerCase()}</Chip>
        <span class="faint">
          by <bdi>{redrive.operator}</bdi>, {redrive.perSecond ? `${redrive.perSecond} a second` : 'as fast as it goes'}: <bdi>{redrive.reason}</bdi>
        </span>
        <Time at={redrive.startTime} compact />
        {redrive.state === 'RUNNING' && <Stop service={service} id={redrive.redriveId ?? ''} again={again} />}
      </div>
      <progress max={total} value={(done ?? 0) + (failed ?? 0)} aria-label={`Redrive ${redrive.redriveId}`} />
      <p class="faint">
        {done} done, {failed} parked again, {left} left of {total}
        {taken > 0 && `; ${taken} ${taken === 1 ? 'was' : 'were'} taken away by others (discarded or redriven)`}
      </p>
    </div>
  );
}

function Stop({ service, id, again }: { service: string; id: string; again: () => void }) {
  const mayAct = useStore(acts);
  const name = useStore(operator);
  const [fault, setFault] = useState<Fault>();
  if (!mayAct) return null;
  const stop = () =>
    send(stopRedrive(service, id, name.trim() || 'console')).then(
      again,
      (error) => error instanceof Failed && lost(error, 'its state', setFault, again),
    );
  return (
    <>
      <button type="button" class="small" onClick={() => void stop()}>
        Stop
      </button>
      <Wrong fault={fault} />
    </>
  );
}
