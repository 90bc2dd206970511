// Messages that could not be handled: in groups by cause, what would become of them, and what to do with them.
import { useEffect, useState } from 'preact/hooks';
import { Preview } from '../parts/calls';
import { More } from '../parts/more';
import { usePages } from '../parts/pages';
import { go, usePlace } from '../parts/route';
import { Said } from '../parts/said';
import { useStore } from '../parts/store';
import { Time } from '../parts/time';
import { Card, Choice, Empty, Field, Wrong } from '../parts/ui';
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
  // What is typed letter by letter is no place to go back to.
  const choose = (chosen: Record<string, string>, instead = false) => go('parked', { ...query, service, ...chosen }, instead);
  // What happens to messages changes groups, lists and redrives alike.
  const [round, setRound] = useState(0);
  const changed = () => setRound((now) => now + 1);
  if (!service) return <Empty>This process has no messages.</Empty>;
  return (
    <>
      <Services names={names} chosen={service} choose={(name) => go('parked', { service: name })} />
      <Groups key={service} service={service} chosen={query['cause'] ?? ''} choose={(cause) => choose({ cause, sequence: '' })} round={round} />
      <Redrives service={service} round={round} changed={changed} />
      <Selected
        key={`${service} ${query['cause'] ?? ''} ${query['state'] ?? ''}`}
        service={service}
        query={query}
        choose={choose}
        round={round}
        changed={changed}
      />
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
      {answer && groups.length === 0 && <Empty>Nothing is parked. Everything could be handled.</Empty>}
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
        </span>
      </span>
    </button>
  );
}

interface SelectedProps {
  service: string;
  query: Readonly<Record<string, string>>;
  choose: (chosen: Record<string, string>, instead?: boolean) => void;
  round: number;
  changed: () => void;
}

/** The messages that are meant, and what to do with all of them. */
function Selected({ service, query, choose, round, changed }: SelectedProps) {
  const mayAct = useStore(acts);
  const state = (query['state'] ?? 'PARKED') as State;
  const cause = query['cause'] ?? '';
  const key = query['key'] ?? '';
  const filter: Filter = { state, ...(cause ? { cause } : {}), ...(key ? { partitionKey: key } : {}) };
  const list = (pageToken: string, pageSize?: number) => listMessages(service, filter, pageToken, pageSize);
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
  return (
    <Card title={cause ? 'Messages of this cause' : 'All messages'}>
      <div class="filters">
        <Choice label="State" value={state} onChange={(chosen) => choose({ state: chosen })} options={STATES} />
        <Field label="Partition key" value={key} onInput={(chosen) => choose({ key: chosen, sequence: '' }, true)} placeholder="a user" />
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
          {act === 'redrive' && <Redrive service={service} filter={filter} done={done} />}
          {act === 'discard' && <Discard service={service} filter={filter} done={done} />}
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
      <More pages={pages} empty="No message is in this state here." />
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

const isCount = (text: string, top: number) => /^\d{1,9}$/.test(text) && Number(text) <= top;

/** Why a text is no number of messages. */
const notMost = (most: string) => (most === '' || isCount(most, 999_999_999) ? undefined : 'A number, or nothing for all.');

/** The end of messages that nobody can handle. */
function Discard({ service, filter, done }: { service: string; filter: Filter; done: () => void }) {
  const [most, setMost] = useState('');
  const wrong = notMost(most);
  return (
    <Act
      button="Discard them for good"
      danger
      needsReason
      make={(by) => (wrong ? undefined : discard(service, { filter, maxMessages: most || '0', ...by }))}
      then={done}
    >
      <p>They are removed, and nobody handles them any more. This cannot be undone.</p>
      <div class="filters">
        <Field label="The first so many" value={most} onInput={setMost} mode="numeric" wrong={wrong} placeholder="all" />
      </div>
    </Act>
  );
}

/** A redrive in the background, at a rate. */
function Redrive({ service, filter, done }: { service: string; filter: Filter; done: () => void }) {
  const [rate, setRate] = useState('10');
  const [most, setMost] = useState('');
  const wrongRate = isCount(rate, 1_000) ? undefined : 'Up to 1,000 a second; 0 for as many as there can be.';
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
    >
      <p>They are sent back to their consumer one after another. What fails again is parked again. It can be stopped.</p>
      <div class="filters">
        <Field label="Messages a second" value={rate} onInput={setRate} mode="numeric" wrong={wrongRate} />
        <Field label="The first so many" value={most} onInput={setMost} mode="numeric" wrong={wrongMost} placeholder="all" />
      </div>
    </Act>
  );
}
