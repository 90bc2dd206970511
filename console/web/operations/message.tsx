// One parked message: its story, its payload when somebody wants to see it, and what to do with it.
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { asJson } from '../parts/call';
import { Failed, type Fault } from '../parts/fault';
import { Said } from '../parts/said';
import { send } from '../parts/send';
import { useStore } from '../parts/store';
import { Time } from '../parts/time';
import { Copy, Id, Wrong } from '../parts/ui';
import { Act } from './act';
import { discard, edit, readMessage, startRedrive, type Filter, type Message } from './calls';
import { Rehearsal } from './rehearsal';
import { acts } from './services';

export function OneMessage({ service, message, changed }: { service: string; message: Message; changed: () => void }) {
  const mayAct = useStore(acts) && message.state === 'PARKED';
  const sequence = message.sequence ?? '';
  const filter: Filter = { sequences: [sequence] };
  const [act, setAct] = useState<'' | 'edit' | 'redrive' | 'discard'>('');
  const turn = (to: typeof act) => setAct(act === to ? '' : to);
  // The payload is another one then, and is hidden.
  const [round, setRound] = useState(0);
  const done = () => {
    setAct('');
    setRound((now) => now + 1);
    changed();
  };
  return (
    <div class="inside">
      <dl class="facts">
        <dt>Why</dt>
        <dd>{message.error}</dd>
        <dt>Kind</dt>
        <dd>
          <code>{message.kind || 'not decoded'}</code>
        </dd>
        <dt>Message</dt>
        <dd>
          <Id id={message.messageId ?? '–'} /> {message.messageId && <Copy text={message.messageId} what="the message's id" />}
        </dd>
        <dt>Attempts</dt>
        <dd>{message.attempts ?? 0}</dd>
        {Number(message.repeats ?? 0) > 0 && (
          <>
            <dt>Repeated</dt>
            <dd>
              {message.repeats} times, the last one <Time at={message.lastRepeatTime} />: what becomes of this message becomes of those
            </dd>
          </>
        )}
        <dt>Parked</dt>
        <dd>
          <Time at={message.parkTime} />
        </dd>
      </dl>
      <Payload key={round} service={service} sequence={sequence} />
      {mayAct && (
        <>
          <Rehearsal service={service} filter={filter} />
          <div class="buttons">
            <button type="button" aria-expanded={act === 'redrive'} onClick={() => turn('redrive')}>
              Redrive this one…
            </button>
            <button type="button" aria-expanded={act === 'edit'} onClick={() => turn('edit')}>
              Edit…
            </button>
            <button type="button" class="danger" aria-expanded={act === 'discard'} onClick={() => turn('discard')}>
              Discard this one…
            </button>
          </div>
        </>
      )}
      {mayAct && act === 'redrive' && (
        <Act
          button="Send it back"
          needsReason
          make={(by) => startRedrive(service, { filter, perSecond: 0, maxMessages: '0', ...by })}
          then={done}
          look="the redrives"
          again={changed}
        />
      )}
      {mayAct && act === 'edit' && <Edit service={service} sequence={sequence} changed={done} reread={changed} />}
      {mayAct && act === 'discard' && (
        <Act
          button="Discard it for good"
          danger
          needsReason
          make={(by) => discard(service, { filter, ...by })}
          then={done}
          look="the messages"
          again={changed}
        >
          <p>It is removed, and nobody handles it any more. This cannot be undone.</p>
        </Act>
      )}
    </div>
  );
}

/** What users have written is not shown before somebody asks for it. */
function Payload({ service, sequence }: { service: string; sequence: string }) {
  const [whole, setWhole] = useState<Message>();
  const [fault, setFault] = useState<Fault>();
  const content = useRef<HTMLPreElement>(null);
  // The button is gone: what it was pressed for has the focus.
  useLayoutEffect(() => content.current?.focus(), [whole]);
  const show = () =>
    send(readMessage(service, sequence)).then(
      (answer) => setWhole(answer.messages?.[0]),
      (error) => error instanceof Failed && setFault(error.fault),
    );
  if (!whole) {
    return (
      <div>
        <Wrong fault={fault} />
        <button type="button" class="quiet" onClick={() => void show()}>
          Show the payload
        </button>
      </div>
    );
  }
  return (
    <div class="commands" data-testid="payload">
      <p class="faint">Payload{whole.originalDecoded ? ', as it was edited' : ''}</p>
      <pre ref={content} tabIndex={0} role="region" aria-label="Payload">
        {whole.decoded ? asJson(whole.decoded, 2) : whole.undecodable || whole.payload}
      </pre>
      {whole.originalDecoded && (
        <>
          <p class="faint">As it came</p>
          <pre tabIndex={0} role="region" aria-label="Payload as it came">
            {asJson(whole.originalDecoded, 2)}
          </pre>
        </>
      )}
      <div>
        <button type="button" class="quiet" onClick={() => setWhole(undefined)}>
          Hide the payload
        </button>
      </div>
    </div>
  );
}

/** Fields that are to be different, as a JSON merge patch (RFC 7396). */
function Edit({ service, sequence, changed, reread }: { service: string; sequence: string; changed: () => void; reread: () => void }) {
  const [text, setText] = useState('{\n  "amount": "100"\n}');
  const [tried, setTried] = useState<Message>();
  const patch = object(text);
  const change = (changed: string) => {
    setText(changed);
    setTried(undefined);
  };
  return (
    <>
      <Act
        button={tried ? 'Edit it' : 'Try the edit'}
        needsReason
        make={(by) => (patch ? edit(service, sequence, { patch, dryRun: !tried, ...by }) : undefined)}
        then={(answer) => (tried ? changed() : setTried(answer))}
        look="the payload"
        again={reread}
        labels={{ patch: 'What is to be different' }}
        fields={(said) => <Patch sequence={sequence} text={text} change={change} wrong={patch ? said('patch') : 'This is no JSON object.'} />}
      >
        <p>Members replace those of the payload, and null takes one away. 64-bit numbers are text. The original is kept.</p>
      </Act>
      <Said text={tried ? 'The edit was tried.' : ''} />
      {tried && (
        <div>
          <p class="faint">It would be:</p>
          <pre tabIndex={0} role="region" aria-label="The payload that it would have">
            {asJson(tried.decoded, 2)}
          </pre>
        </div>
      )}
    </>
  );
}

function Patch(props: { sequence: string; text: string; change: (text: string) => void; wrong: string | undefined }) {
  const id = `patch-${props.sequence}`;
  return (
    <div class="field">
      <label for={id}>What is to be different</label>
      <textarea
        id={id}
        rows={4}
        value={props.text}
        spellcheck={false}
        aria-invalid={props.wrong ? true : undefined}
        aria-describedby={props.wrong ? `${id}-note` : undefined}
        onInput={(event) => props.change(event.currentTarget.value)}
      />
      {props.wrong && (
        <p id={`${id}-note`} class="note wrong">
          {props.wrong}
        </p>
      )}
    </div>
  );
}

function object(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
