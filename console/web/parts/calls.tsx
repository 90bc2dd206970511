// What the clicks send: before they do, and afterwards in a list.
import { useState } from 'preact/hooks';
import { curl, grpcurl, type Call } from './call';
import { atServer } from './clock';
import { keptForOthers, log, repeating, wake, type Sent } from './send';
import { useStore } from './store';
import { Time } from './time';
import { token } from './token';
import { Chip, Copy, Empty, Reason } from './ui';

/** A call as curl and as grpcurl. */
export function Commands({ call, withToken }: { call: Call<unknown>; withToken: boolean }) {
  const each = [
    ['curl', curl(call, withToken)],
    ['grpcurl', grpcurl(call, withToken)],
  ] as const;
  return (
    <div class="commands">
      {each.map(([name, text]) => (
        <div key={name}>
          <div class="bar">
            <span class="faint">{name}</span>
            <Copy text={text} what={`the ${name} command`} />
          </div>
          <pre tabIndex={0} role="region" aria-label={name}>{text}</pre>
        </div>
      ))}
    </div>
  );
}

/** What a button sends, for who wants to know it before. */
export function Preview({ call, what = 'What this sends' }: { call: Call<unknown> | undefined; what?: string }) {
  const withToken = useStore(token) !== '';
  const [isOpen, open] = useState(false);
  return (
    <details class="preview" onToggle={(event) => open(event.currentTarget.open)}>
      <summary>{what}</summary>
      {isOpen && (call ? <Commands call={call} withToken={withToken} /> : <p class="faint">Fill in the form to see it.</p>)}
    </details>
  );
}

/** Everything that was sent, the newest first. */
export function Log() {
  const all = useStore(log);
  if (all.length === 0) return <Empty>Nothing yet. Each click that calls the API is listed here, as curl and as grpcurl.</Empty>;
  return (
    <ol class="log">
      {all.map((sent) => (
        <Entry key={sent.number} sent={sent} />
      ))}
    </ol>
  );
}

function Entry({ sent }: { sent: Sent }) {
  const [isOpen, open] = useState(false);
  return (
    <li>
      <details onToggle={(event) => open(event.currentTarget.open)}>
        <summary>
          <span class="what">{sent.call.title}</span>
          <Outcome sent={sent} />
          <span class="faint">{sent.took === undefined ? '' : `${sent.took} ms`}</span>
        </summary>
        {isOpen && (
          <>
            <p class="faint">
              <Time at={new Date(atServer(sent.began)).toISOString()} />
              {sent.attempts > 1 && ` · sent ${sent.attempts} times by one key`}
            </p>
            {sent.fault && <Reason fault={sent.fault} />}
            <Commands call={sent.call} withToken={sent.withToken} />
          </>
        )}
      </details>
    </li>
  );
}

function Outcome({ sent }: { sent: Sent }) {
  switch (sent.state) {
    case 'sent':
      return <Chip kind="busy">sent</Chip>;
    case 'repeats':
      return <Chip kind="warn">no answer yet</Chip>;
    case 'answered':
      return <Chip kind="good">{sent.replayed ? `${sent.status}, the first answer again` : `${sent.status}`}</Chip>;
    case 'stopped':
      return <Chip kind="plain">stopped</Chip>;
    case 'failed':
      return <Chip kind="bad">{sent.status || 'no answer'}</Chip>;
  }
}

/** Writes of those who have left, which have no answer yet. */
export function Kept() {
  return (
    <>
      {keptForOthers().map(([name, titles]) => (
        <p key={name} class="notice warn">
          No answer has come yet, and it is kept for {name} in this tab: {titles.join(', ')}. It is sent again when {name} is here again, and for nobody
          else.
        </p>
      ))}
    </>
  );
}

/** Writes whose answers were lost: they are sent again, and everybody sees it. */
export function Repeats() {
  const all = useStore(repeating);
  return (
    <div aria-live="polite" class="repeats">
      {all.map((sent) => (
        <div key={sent.number} class="notice warn">
          <p>
            <strong>{sent.call.title}: no answer came.</strong>{' '}
            {sent.again === undefined
              ? 'It is sent again once you have signed in.'
              : `It is sent again by the same key, so it takes effect once. Sent ${sent.attempts === 1 ? 'once' : `${sent.attempts} times`} so far.`}
          </p>
          <p class="faint">
            Idempotency-Key <code>{sent.call.key}</code>
          </p>
          <div class="buttons">
            <button type="button" onClick={() => wake(sent, true)}>
              Send it now
            </button>
            <button type="button" class="quiet" onClick={() => wake(sent, false)}>
              Stop
            </button>
          </div>
        </div>
      ))}
    </div>
  );
}
