// Messages that could not be handled: in groups by cause, what would become of them, and what to do with them.
import { useEffect, useRef, useState } from 'preact/hooks';
import { Preview } from '../parts/calls';
import { More } from '../parts/more';
import { usePages } from '../parts/pages';
import { go, goByTyping, usePlace } from '../parts/route';
import { Said } from '../parts/said';
import { useStore } from '../parts/store';
import { Time } from '../parts/time';
import { Card, Choice, Empty, Field, isOneOf, Wrong } from '../parts/ui';
import { Act, Services } from './act';
import { discard, listGroups, listMessages, startRedrive, type Filter, type Group, type Message } from './calls';
import { OneMessage } from './message';
import { usePoll } from './poll';
import { Redrives } from './redrives';
import { Rehearsal, short } from './rehearsal';
import { acts, services } from './services';

const STATES = [
  ['PARKED', 'parked'],
  ['WAITING', 'waiting'],
  ['HELD', 'held'],
  ['REDRIVEN', 'sent back'],
] as const;

type State = (typeof STATES)[number][0];

export function Parked() {
  const names = (useStore(services) ?? []).map(({ name }) => name);
  const { query } = usePlace();
  const service = names.includes(query['service'] ?? '') ? (query['service'] ?? '') : (names.at(-1) ?? '');
  const choose = (chosen: Record<string, string>) => go('parked', { ...query, service, ...chosen });
  const write = (key: string) => goByTyping('key', 'parked', { ...query, service, key, sequence: '' });
  // What happens to messages changes groups, lists and redrives alike.
  const [round, setRound] = useState(0);
  const changed = () => setRound((now) => now + 1);
  const cause = query['cause'] ?? '';
  const before = useRef(cause);
  const messages = useRef<HTMLDivElement>(null);
  // Many causes may be above them: whoever has chosen one is where its messages are.
  useEffect(() => {
    if (cause && cause !== before.current) {
      const heading = messages.current?.querySelector('h2');
      if (heading) heading.tabIndex = -1;
      heading?.focus();
    }
    before.current = cause;
  }, [cause]);
  if (!service) return <Empty>This process has no messages.</Empty>;
  return (
    <>
      <Services names={names} chosen={service} choose={(name) => go('parked', { service: name })} />
      <Groups key={service} service={service} chosen={cause} choose={(cause) => choose({ cause, sequence: '' })} round={round} />
      <Redrives service={service} round={round} changed={changed} />
      <div ref={messages}>
        <Selected
          key={`${service} ${cause} ${query['state'] ?? ''}`}
          service={service}
          query={query}
          choose={choose}
          write={write}
          round={round}
          changed={changed}
        />
      </div>
    </>
  );
}

function Groups(props: { service: string; chosen: string; choose: (cause: string) => void; round: number }) {
  const { answer, fault, again } = usePoll(props.service, () => listGroups(props.service), 2_000);
  useEffect(() => {
    if (props.round > 0) again();
  }, [props.round]);
  const groups = answer?.groups ?? [];
  return (
    <Card title="Parked, by cause" aside={<span class="faint">{props.service}</span>}>
      <Said text={answer ? `Parked: ${groups.reduce((sum, group) => sum + Number(group.messages ?? 0), 0)}` : ''} />
      <Wrong fault={fault} />
      {answer && groups.length === 0 && <Empty>Nothing is parked.</Empty>}
      <ul class="groups" data-testid="groups">
        {groups.map((group) => (
          <li key={group.cause}>
            <OneGroup group={group} isChosen={group.cause === props.chosen} choose={props.choose} />
          </li>
        ))}
      </ul>
    </Card>
  );
}

function OneGroup({ group, isChosen, choose }: { group: Group; isChosen: boolean; choose: (cause: string) => void }) {
  return (
    <button type="button" class="group" aria-pressed={isChosen} onClick={() => choose(isChosen ? '' : (group.cause ?? ''))}>
      <span class="size">{group.messages}</span>
      <span class="cause">
        <span class="error">{group.error}</span>
        <span class="faint">
          {short(group.kind)} in {group.consumer}, the last one <Time at={group.lastTime} compact />
          {Number(group.repeats ?? 0) > 0 && `, and ${group.repeats} that repeat them`}
        </span>
      </span>
    </button>
  );
}

interface SelectedProps {
  service: string;
  query: Readonly<Record<string, string>>;
  choose: (chosen: Record<string, string>) => void;
  /** Letters of the partition key. */
  write: (key: string) => void;
  round: number;
  changed: () => void;
}

/** The messages that are meant, and what to do with all of them. */
function Selected({ service, query, choose, write, round, changed }: SelectedProps) {
  const mayAct = useStore(acts);
  const state = (query['state'] ?? 'PARKED') as State;
  const cause = query['cause'] ?? '';
  const key = query['key'] ?? '';
  const filter: Filter = { state, ...(cause ? { cause } : {}), ...(key ? { partitionKey: key } : {}) };
  const isListed = isOneOf(STATES, state);
  const list = (pageToken: string, pageSize?: number) => (isListed ? listMessages(service, filter, pageToken, pageSize) : undefined);
  const pages = usePages(JSON.stringify(filter), list, (answer) => ({ items: answer.messages ?? [], next: answer.nextPageToken }));
  useEffect(() => {
    if (round > 0) pages.reload();
  }, [round]);
  const [act, setAct] = useState<'' | 'redrive' | 'discard'>('');
  const done = () => {
    setAct('');
    changed();
  };
  const open = query['sequence'] ?? '';
  const error = pages.items[0]?.error;
  return (
    <Card title={cause ? `Messages of this cause${error ? `: ${error}` : ''}` : 'All messages'}>
      <div class="filters">
        <Choice label="State" value={state} onChange={(chosen) => choose({ state: chosen })} options={STATES} />
        <Field label="Partition key" value={key} onInput={write} placeholder="a user" />
      </div>
      <Preview call={list('')} />
      {mayAct && state === 'PARKED' && pages.items.length > 0 && (
        <>
          <Rehearsal service={service} filter={filter} />
          <div class="buttons">
            <button type="button" aria-expanded={act === 'redrive'} onClick={() => setAct(act === 'redrive' ? '' : 'redrive')}>
              Redrive…
            </button>
            <button type="button" class="danger" aria-expanded={act === 'discard'} onClick={() => setAct(act === 'discard' ? '' : 'discard')}>
              Discard…
            </button>
          </div>
          {act === 'redrive' && <Redrive service={service} filter={filter} done={done} changed={changed} />}
          {act === 'discard' && <Discard service={service} filter={filter} done={done} changed={changed} />}
        </>
      )}
      {open && !pages.isLoading && !pages.items.some(({ sequence }) => sequence === open) && (
        <Sought key={open} service={service} sequence={open} close={() => choose({ sequence: '' })} changed={changed} />
      )}
      <ul class="rows" data-testid="messages">
        {pages.items.map((message) => (
          <li key={message.sequence}>
            <Row message={message} isOpen={open === message.sequence} choose={(sequence) => choose({ sequence })} />
            {open === message.sequence && <OneMessage service={service} message={message} changed={changed} />}
          </li>
        ))}
      </ul>
      <More pages={pages} empty={isListed ? 'No message is in this state here.' : 'Nothing is listed by what is wrong above.'} />
    </Card>
  );
}

/** The message of a link, where the part of the list that is loaded does not have it. */
function Sought({ service, sequence, close, changed }: { service: string; sequence: string; close: () => void; changed: () => void }) {
  const list = () => listMessages(service, { sequences: [sequence] }, '');
  const pages = usePages(sequence, list, (answer) => ({ items: answer.messages ?? [], next: undefined }));
  const message = pages.items[0];
  if (!message) return pages.isLoading ? null : <Wrong fault={pages.fault} />;
  return (
    <div>
      <Row message={message} isOpen choose={close} />
      <OneMessage service={service} message={message} changed={changed} />
    </div>
  );
}

function Row({ message, isOpen, choose }: { message: Message; isOpen: boolean; choose: (sequence: string) => void }) {
  return (
    <button type="button" class="rowlink message" aria-expanded={isOpen} onClick={() => choose(isOpen ? '' : (message.sequence ?? ''))}>
      <span class="number">{message.sequence}</span>
      <span>{short(message.kind)}</span>
      <span class="what">{message.partitionKey || <span class="faint">no key</span>}</span>
      <span class="what faint">{message.error}</span>
      <Time at={message.parkTime} compact />
    </button>
  );
}

/** Whether a text is a number that means what it says: a zero would mean all to the API. */
const isCount = (text: string, top: number) => /^\d{1,9}$/.test(text) && Number(text) > 0 && Number(text) <= top;

/** Why a text is no number of messages. */
const notMost = (most: string) => (most === '' || isCount(most, 999_999_999) ? undefined : 'A number from 1 on, or nothing for all.');

/** Which messages a form is about, and how many of them there are. */
function Meant({ service, filter, most }: { service: string; filter: Filter; most: string }) {
  const { answer } = usePoll(JSON.stringify([service, filter]), () => listGroups(service, filter), 2_000);
  const groups = answer?.groups ?? [];
  const count = groups.reduce((sum, group) => sum + Number(group.messages ?? 0), 0);
  const number = answer ? `${answer.truncated ? 'more than ' : ''}${count}` : '…';
  const cause = groups.find((group) => group.cause === filter.cause)?.error ?? filter.cause;
  return (
    <p data-testid="meant">
      {most ? `The first ${most} of ` : 'All of '}
      <strong>{number}</strong> parked messages of {service}
      {filter.cause ? ` with this cause: ${cause}` : ', whatever their cause'}
      {filter.partitionKey ? `, with the partition key ${filter.partitionKey}` : ''}.
    </p>
  );
}

/** The end of messages that nobody can handle. */
function Discard({ service, filter, done, changed }: { service: string; filter: Filter; done: () => void; changed: () => void }) {
  const [most, setMost] = useState('');
  const wrong = notMost(most);
  return (
    <Act
      button="Discard them for good"
      danger
      needsReason
      make={(by) => (wrong ? undefined : discard(service, { filter, maxMessages: most || '0', ...by }))}
      then={done}
      look="the messages"
      again={changed}
      labels={{ maxMessages: 'The first so many' }}
      fields={(said) => (
        <div class="filters">
          <Field label="The first so many" value={most} onInput={setMost} mode="numeric" wrong={wrong ?? said('maxMessages')} placeholder="all" />
        </div>
      )}
    >
      {!wrong && <Meant service={service} filter={filter} most={most} />}
      <p>They are removed, and nobody handles them any more. This cannot be undone.</p>
    </Act>
  );
}

/** A redrive in the background, at a rate. */
function Redrive({ service, filter, done, changed }: { service: string; filter: Filter; done: () => void; changed: () => void }) {
  const [rate, setRate] = useState('10');
  const [most, setMost] = useState('');
  const wrongRate = rate === '' || isCount(rate, 1_000) ? undefined : 'From 1 to 1,000 a second, or nothing for as fast as it goes.';
  const wrongMost = notMost(most);
  const isRight = !wrongRate && !wrongMost;
  return (
    <Act
      button="Start the redrive"
      needsReason
      make={(by) =>
        isRight ? startRedrive(service, { filter, perSecond: Number(rate), maxMessages: most || '0', ...by }) : undefined
      }
      then={done}
      look="the redrives"
      again={changed}
      labels={{ perSecond: 'Messages a second', maxMessages: 'The first so many' }}
      fields={(said) => (
        <div class="filters">
          <Field
            label="Messages a second"
            value={rate}
            onInput={setRate}
            mode="numeric"
            wrong={wrongRate ?? said('perSecond')}
            placeholder="as fast as it goes"
            hint="Empty: as fast as it goes."
          />
          <Field label="The first so many" value={most} onInput={setMost} mode="numeric" wrong={wrongMost ?? said('maxMessages')} placeholder="all" />
        </div>
      )}
    >
      {!wrongMost && <Meant service={service} filter={filter} most={most} />}
      <p>They are sent back to their consumer one after another. What fails again is parked again. It can be stopped.</p>
    </Act>
  );
}
