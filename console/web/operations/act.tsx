// What an operator does: with their name and a reason, once it is clear what it is about.
import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import type { Call } from '../parts/call';
import { Preview } from '../parts/calls';
import { Failed, type Fault } from '../parts/fault';
import { send } from '../parts/send';
import { useStore } from '../parts/store';
import { Field, Wrong } from '../parts/ui';
import { acts, callMe, operator } from './services';

/** Who does it, and why. */
export interface By {
  readonly operator: string;
  readonly reason: string;
}

/** A form that does something. `make` is the call; `undefined` as long as something is missing. Not there for who only reads. */
export function Act<Answer>(props: {
  button: string;
  danger?: boolean;
  /** Whether a reason has to be given. */
  needsReason: boolean;
  make: (by: By) => Call<Answer> | undefined;
  then: (answer: Answer) => void;
  children?: ComponentChildren;
}) {
  const mayAct = useStore(acts);
  const name = useStore(operator);
  const [reason, setReason] = useState('');
  const [fault, setFault] = useState<Fault>();
  const [isUnderWay, setUnderWay] = useState(false);
  if (!mayAct) return null;
  const isWhole = name.trim() !== '' && (!props.needsReason || reason.trim() !== '');
  const call = isWhole ? props.make({ operator: name.trim(), reason: reason.trim() }) : undefined;
  const run = async (event: Event) => {
    event.preventDefault();
    if (!call || isUnderWay) return;
    setUnderWay(true);
    setFault(undefined);
    try {
      props.then(await send(call));
    } catch (error) {
      if (error instanceof Failed) setFault(error.fault);
    }
    setUnderWay(false);
  };
  return (
    <form class="act" onSubmit={(event) => void run(event)}>
      {props.children}
      <div class="filters">
        <Field label="Your name" value={name} onInput={callMe} required maxLength={64} />
        {props.needsReason && <Field label="Reason" value={reason} onInput={setReason} required maxLength={1024} hint="It is noted with your name." />}
      </div>
      <Wrong fault={fault} />
      <div class="buttons">
        <button class={props.danger ? 'danger' : 'primary'} aria-disabled={isUnderWay}>
          {props.button}
        </button>
      </div>
      <Preview call={call} />
    </form>
  );
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
