// What would become of parked messages.
import { useState } from 'preact/hooks';
import { asJson, type Call } from '../parts/call';
import { Failed, type Fault } from '../parts/fault';
import { Said } from '../parts/said';
import { send } from '../parts/send';
import { Chip, Id, Wrong } from '../parts/ui';
import { preview, type Filter, type Previewed } from './calls';

/** The last name of a kind: `OrderPlaced`. */
export const short = (kind: string | undefined) => kind?.split('.').at(-1) || 'undecoded';

/** What a redrive would do: the handler runs, and is rolled back. */
export function Rehearsal({ service, filter }: { service: string; filter: Filter }) {
  const [shown, setShown] = useState<Previewed>();
  const [fault, setFault] = useState<Fault>();
  const [isUnderWay, setUnderWay] = useState(false);
  const call: Call<Previewed> = preview(service, filter);
  const run = async () => {
    if (isUnderWay) return;
    setUnderWay(true);
    setFault(undefined);
    try {
      setShown(await send(call));
    } catch (error) {
      if (error instanceof Failed) setFault(error.fault);
    }
    setUnderWay(false);
  };
  return (
    <div class="rehearsal">
      <div class="buttons">
        <button type="button" aria-disabled={isUnderWay} onClick={() => void run()}>
          Preview a redrive
        </button>
      </div>
      <Said text={shown ? `The preview: ${shown.done ?? 0} done, ${shown.parkedAgain ?? 0} failed, ${shown.heldUp ?? 0} behind others.` : ''} />
      <Wrong fault={fault} again={() => void run()} />
      {shown && (
        <div data-testid="preview">
          <p>
            <strong>{shown.done ?? 0}</strong> would be done, <strong>{shown.parkedAgain ?? 0}</strong> parked again,{' '}
            <strong>{shown.heldUp ?? 0}</strong> held up{shown.left ? `; ${shown.left} were not tried` : ''}.
          </p>
          <ol class="previews">
            {alike(shown).map(({ first, number }) => (
              <li key={first.sequence}>
                <Chip kind={first.verdict === 'DONE' ? 'good' : first.verdict === 'PARKED_AGAIN' ? 'bad' : 'warn'}>
                  {number} × {first.verdict?.toLowerCase().replace('_', ' ')}
                </Chip>{' '}
                {short(first.kind)} {first.error && <span class="faint">{first.error}</span>}
                {[...(first.changes ?? []), ...(first.outbox ?? [])].length > 0 && <p class="faint">Of message {first.sequence}:</p>}
                {(first.changes ?? []).map((change) => (
                  <details key={`${change.table} ${change.key}`}>
                    <summary>
                      {change.before ? (change.after ? 'changes' : 'removes') : 'adds'} a row of {change.table} <Id id={change.key ?? ''} />
                    </summary>
                    <pre tabIndex={0} role="region" aria-label="The row before and after">
                      {`before ${asJson(change.before ?? null, 2)}\nafter ${asJson(change.after ?? null, 2)}`}
                    </pre>
                  </details>
                ))}
                {(first.outbox ?? []).map((message, at) => (
                  <details key={`${at} ${message.kind}`}>
                    <summary>
                      publishes {short(message.kind)} for <Id id={message.partitionKey ?? ''} />
                    </summary>
                    <pre tabIndex={0} role="region" aria-label="The message">
                      {message.decoded ? asJson(message.decoded, 2) : message.undecodable}
                    </pre>
                  </details>
                ))}
              </li>
            ))}
          </ol>
        </div>
      )}
    </div>
  );
}

type Outcome = NonNullable<Previewed['messages']>[number];

/** Messages of which the same would become, by the first of them. */
function alike(shown: Previewed): { first: Outcome; number: number }[] {
  const found = new Map<string, { first: Outcome; number: number }>();
  for (const message of shown.messages ?? []) {
    const name = `${message.verdict} ${message.kind} ${message.error ?? ''}`;
    const known = found.get(name);
    if (known) known.number += 1;
    else found.set(name, { first: message, number: 1 });
  }
  return [...found.values()];
}
