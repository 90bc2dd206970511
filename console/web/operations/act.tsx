// What an operator does: with their name and a reason, once it is clear what it is about.
import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import type { Call } from '../parts/call';
import { Preview } from '../parts/calls';
import { Failed, unanswered, unknown, wrongAt, type Fault, type Labels } from '../parts/fault';
import { send, STOPPED } from '../parts/send';
import { useStore } from '../parts/store';
import { Field, Wrong } from '../parts/ui';
import { useKey } from '../parts/write';
import { acts, callMe, operator } from './services';

/** Who does it, and why. */
export interface By {
  readonly operator: string;
  readonly reason: string;
}

/**
 * A form that does something. `make` is the call, with the key where it has one; `undefined` as long as something is missing. Not there for who only
 * reads.
 */
export function Act<Answer>(props: {
  button: string;
  danger?: boolean;
  /** Whether a reason has to be given. */
  needsReason: boolean;
  make: (by: By, key: string) => Call<Answer> | undefined;
  then: (answer: Answer) => void;
  /** Where to see whether it took effect, when its answer is lost; and what is read again then. */
  look: string;
  again: () => void;
  children?: ComponentChildren;
  /** Its own fields: their labels by their names in the API, and what they are made of, each with what is wrong with it. */
  labels?: Labels;
  fields?: (wrong: (name: string) => string | undefined) => ComponentChildren;
}) {
  const mayAct = useStore(acts);
  const name = useStore(operator);
  const [reason, setReason] = useState('');
  const [failed, setFailed] = useState<{ content: string; fault: Fault }>();
  const [isUnderWay, setUnderWay] = useState(false);
  const isWhole = name.trim() !== '' && (!props.needsReason || reason.trim() !== '');
  const make = (key: string) => (isWhole ? props.make({ operator: name.trim(), reason: reason.trim() }, key) : undefined);
  const content = JSON.stringify(make('')?.body);
  const { key, isStopped, renew } = useKey(content, make);
  if (!mayAct) return null;
  const call = make(key);
  const stopped = { ...unanswered(), ...STOPPED, advice: `Look at ${props.look} first. Sent again unchanged, it has the same key, and is done once.` };
  // What went wrong is said until the form says something else.
  const known = failed && failed.content === content ? failed.fault : isStopped ? stopped : undefined;
  const fault = isUnderWay ? undefined : known;
  const wrong = (name: string) => wrongAt(fault, name);
  const run = async (event: Event) => {
    event.preventDefault();
    if (!call || isUnderWay) return;
    setUnderWay(true);
    setFailed(undefined);
    try {
      props.then(await send(call));
    } catch (error) {
      // What was stopped is said as long as its key is kept.
      const isKept = error instanceof Failed && error.fault.text === STOPPED.text;
      if (error instanceof Failed && !isKept) lost(error, props.look, (fault) => setFailed({ content, fault }), props.again);
      if (isKept) props.again();
    }
    renew();
    setUnderWay(false);
  };
  return (
    <form class="act" onSubmit={(event) => void run(event)}>
      {props.children}
      {props.fields?.(wrong)}
      <div class="filters">
        <Field label="Your name" value={name} onInput={callMe} wrong={wrong('operator')} required />
        {props.needsReason && (
          <Field
            label="Reason"
            value={reason}
            onInput={setReason}
            wrong={wrong('reason')}
            required
            hint="It is noted with your name."
          />
        )}
      </div>
      <Wrong fault={fault} at={{ ...props.labels, operator: 'Your name', ...(props.needsReason ? { reason: 'Reason' } : {}) }} />
      <div class="buttons">
        <button class={props.danger ? 'danger' : 'primary'} aria-disabled={isUnderWay}>
          {props.button}
        </button>
      </div>
      <Preview call={call} />
    </form>
  );
}

/** Says what has failed; where its answer was lost, it may have taken effect. */
export function lost(error: Failed, look: string, say: (fault: Fault) => void, again: () => void): void {
  const fault = unknown(error.fault, `Look at ${look} before you repeat it.`);
  say(fault);
  if (fault !== error.fault) again();
}

/** A choice of the services of this process, where it has several. */
export function Services({ names, chosen, choose }: { names: readonly string[]; chosen: string; choose: (name: string) => void }) {
  if (names.length < 2) return null;
  return (
    <div class="switch" role="group" aria-label="Service">
      {names.map((name) => (
        <button key={name} type="button" aria-pressed={name === chosen} onClick={() => choose(name)}>
          {name}
        </button>
      ))}
    </div>
  );
}
