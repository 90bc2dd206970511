// What every page is made of: fields, buttons, notices, chips.
import type { ComponentChildren } from 'preact';
import { useId, useState } from 'preact/hooks';
import { url } from './call';
import { advice, sentences, type Fault, type Labels } from './fault';

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

type Options = readonly (readonly [value: string, text: string])[];

/** Whether this can be chosen: a link may say something else. */
export const isOneOf = (options: Options, value: string): boolean => options.some(([one]) => one === value);

/** A labelled choice. It says by itself when it has another value than those. */
export function Choice(props: {
  label: string;
  value: string;
  onChange: (value: string) => void;
  options: Options;
}) {
  const id = useId();
  const isWrong = !isOneOf(props.options, props.value);
  return (
    <div class="field">
      <label for={id}>{props.label}</label>
      <select
        id={id}
        value={props.value}
        aria-invalid={isWrong ? true : undefined}
        aria-describedby={isWrong ? `${id}-note` : undefined}
        onChange={(event) => props.onChange(event.currentTarget.value)}
      >
        {props.options.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
      {isWrong && (
        <p id={`${id}-note`} class="note wrong">
          <bdi>{props.value}</bdi> is none of these.
        </p>
      )}
    </div>
  );
}

/** What went wrong, and what to do. What is wrong with the fields of `at`, those say. */
export function Wrong({ fault, again, at }: { fault: Fault | undefined; again?: (() => void) | undefined; at?: Labels | undefined }) {
  if (!fault) return null;
  const [first, ...others] = sentences(fault, at);
  return (
    <div class="notice bad" role="alert">
      <p>
        <strong>{first}</strong> {advice(fault)}
      </p>
      {others.map((text) => (
        <p key={text}>{text}</p>
      ))}
      <Reason fault={fault} />
      {again && (
        <button type="button" onClick={again}>
          Try again
        </button>
      )}
    </div>
  );
}

/** The reason of an error, as a link to its entry in the catalogue beside the API: in a tab of its own, so that nothing half entered is lost. */
export function Reason({ fault }: { fault: Fault }) {
  if (!fault.reason) return null;
  if (!fault.isListed) return <p class="faint">{fault.reason}</p>;
  return (
    <p class="faint">
      <a href={url({ path: `errors/${fault.reason}` })} target="_blank" rel="noopener">
        {fault.reason}: more about it (new tab)
      </a>
    </p>
  );
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
