// What every page is made of: fields, buttons, notices, chips.
import type { ComponentChildren } from 'preact';
import { useId, useState } from 'preact/hooks';
import { advice, type Fault } from './fault';

/** A labelled input. What is wrong with it is said by a screen reader too. */
export function Field(props: {
  label: string;
  value: string;
  onInput: (value: string) => void;
  hint?: string;
  wrong?: string | undefined;
  type?: 'text' | 'password';
  mode?: 'decimal' | 'numeric' | 'text';
  placeholder?: string;
  options?: readonly string[];
  required?: boolean;
  maxLength?: number;
  wide?: boolean;
}) {
  const id = useId();
  const note = props.wrong || props.hint;
  return (
    <div class={props.wide ? 'field wide' : 'field'}>
      <label for={id}>{props.label}</label>
      <input
        id={id}
        dir="auto"
        inputMode={props.mode ?? 'text'}
        value={props.value}
        placeholder={props.placeholder}
        required={props.required}
        maxLength={props.maxLength}
        autocomplete="off"
        spellcheck={false}
        {...(props.type === 'password' ? { type: props.type } : { type: 'text', list: props.options ? `${id}-options` : undefined })}
        aria-invalid={props.wrong ? true : undefined}
        aria-describedby={note ? `${id}-note` : undefined}
        onInput={(event) => props.onInput(event.currentTarget.value)}
      />
      {props.options && (
        <datalist id={`${id}-options`}>
          {props.options.map((option) => (
            <option key={option} value={option} />
          ))}
        </datalist>
      )}
      {note && (
        <p id={`${id}-note`} class={props.wrong ? 'note wrong' : 'note'}>
          {note}
        </p>
      )}
    </div>
  );
}

/** A labelled choice. */
export function Choice(props: {
  label: string;
  value: string;
  onChange: (value: string) => void;
  options: readonly (readonly [value: string, text: string])[];
}) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{props.label}</label>
      <select id={id} value={props.value} onChange={(event) => props.onChange(event.currentTarget.value)}>
        {props.options.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </div>
  );
}

/** What went wrong, and what to do. */
export function Wrong({ fault, again }: { fault: Fault | undefined; again?: (() => void) | undefined }) {
  if (!fault) return null;
  return (
    <div class="notice bad" role="alert">
      <p>
        <strong>{sentence(fault.text)}</strong> {advice(fault)}
      </p>
      {fault.fields.map(({ field, detail }) => (
        <p key={field}>
          <code>{field}</code>: {detail}
        </p>
      ))}
      {fault.reason && <p class="faint">{fault.reason}</p>}
      {again && (
        <button type="button" onClick={again}>
          Try again
        </button>
      )}
    </div>
  );
}

/** A text as a sentence: errors of the API begin small and end without a full stop. */
function sentence(text: string): string {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

/** A state, by a sign and a word and not by colour alone. */
export function Chip({ kind, children }: { kind: 'good' | 'bad' | 'busy' | 'plain' | 'warn'; children: ComponentChildren }) {
  return (
    <span class={`chip ${kind}`}>
      <span aria-hidden="true" class="sign" />
      {children}
    </span>
  );
}

/** A long id: its beginning and its end; all of it in the tooltip and for who copies it. */
export function Id({ id, whole }: { id: string; whole?: boolean }) {
  const text = whole || id.length <= 18 ? id : `${id.slice(0, 8)}…${id.slice(-6)}`;
  return (
    <code class="id" title={id}>
      {text}
    </code>
  );
}

/** Copies a text, and says so. */
export function Copy({ text, what }: { text: string; what: string }) {
  const [said, say] = useState('');
  const copy = async () => {
    // Only pages of HTTPS and of this machine may.
    const done = await navigator.clipboard?.writeText(text).then(
      () => true,
      () => false,
    );
    say(done ? 'Copied' : 'Select it and copy it');
    setTimeout(() => say(''), 2_000);
  };
  return (
    <>
      <button type="button" class="small quiet" onClick={() => void copy()} aria-label={`Copy ${what}`}>
        {said || 'Copy'}
      </button>
      <span class="hidden" role="status">
        {said}
      </span>
    </>
  );
}

/** A part of a page with its heading. */
export function Card(props: { title: string; aside?: ComponentChildren; children: ComponentChildren; tone?: 'quiet' }) {
  const id = useId();
  return (
    <section class={props.tone ? `card ${props.tone}` : 'card'} aria-labelledby={id}>
      <header>
        <h2 id={id}>{props.title}</h2>
        {props.aside}
      </header>
      {props.children}
    </section>
  );
}

/** What is shown where there is nothing. */
export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}
