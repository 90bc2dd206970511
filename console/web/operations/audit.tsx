// Who did what.
import { useLayoutEffect, useState } from 'preact/hooks';
import { Preview } from '../parts/calls';
import { now } from '../parts/clock';
import { wrongAt } from '../parts/fault';
import { More } from '../parts/more';
import { usePages } from '../parts/pages';
import { go, link as to, usePlace } from '../parts/route';
import { useStore } from '../parts/store';
import { Time } from '../parts/time';
import { Card, Empty, Field, Id } from '../parts/ui';
import { Services } from './act';
import { listEvents, type AuditEvent } from './calls';
import { services } from './services';

const FIELDS = ['subject', 'token_id', 'trace_id', 'x_request_id', 'action', 'user_id', 'order_id', 'time'] as const;
const ACTIONS = ['TOP_UP', 'ORDER_DEBIT', 'REDRIVE', 'EDIT', 'DISCARD', 'STOP_REDRIVE', 'PAUSE', 'RESUME', 'HEAL'] as const;

/** What may follow in a filter (AIP-160: comparisons joined by AND). */
export function suggestions(text: string): string[] {
  const conditions = text.split(/\s+AND\s+/);
  const last = conditions.pop() ?? '';
  const before = conditions.map((condition) => `${condition} AND `).join('');
  const [, field = '', operator = '', value = ''] = /^(\w*)\s*(!=|<=|>=|[=<>])?\s*(\S*)$/.exec(last) ?? [];
  if (!operator) {
    const known = FIELDS.filter((name) => name.startsWith(field));
    const operators = (name: string) => (name === 'time' ? ['>=', '<'] : ['=', '!=']);
    return known.flatMap((name) => operators(name).map((sign) => `${before}${name} ${sign} `));
  }
  if (field === 'action') {
    return ACTIONS.filter((name) => name.startsWith(value)).map((name) => `${before}action ${operator} ${name}`);
  }
  if (field === 'time' && value === '') return [`${before}time ${operator} ${new Date(now()).toISOString().slice(0, 10)}T00:00:00Z`];
  return value === '' ? [] : [`${before}${last.trim()} AND `];
}

export function Audit() {
  const names = (useStore(services) ?? []).map(({ name }) => name);
  const { query } = usePlace();
  const chosen = query['service'] ?? '';
  const service = names.includes(chosen) ? chosen : (names.at(-1) ?? '');
  const filter = query['filter'] ?? '';
  if (!service) return <Empty>This process has done nothing for an operator.</Empty>;
  return (
    <>
      <Services names={names} chosen={service} choose={(name) => go('audit', { service: name, filter })} />
      <List key={service} service={service} filter={filter} />
    </>
  );
}

function List({ service, filter }: { service: string; filter: string }) {
  const [text, setText] = useState(filter);
  // Of a link, or of the button that goes back; before anybody can type another one.
  useLayoutEffect(() => setText(filter), [filter]);
  const list = (pageToken: string, pageSize?: number) => listEvents(service, filter, pageToken, pageSize);
  const pages = usePages(filter, list, (answer) => ({ items: answer.events ?? [], next: answer.nextPageToken }));
  // What is wrong with a filter is said until another one is typed.
  const isTyped = text.trim() !== filter;
  const shown = isTyped ? { ...pages, fault: undefined } : pages;
  return (
    <Card title="Who did what" aside={<span class="faint">{service}</span>}>
      <form
        class="search"
        onSubmit={(event) => {
          event.preventDefault();
          go('audit', { service, filter: text.trim() });
        }}
      >
        <Field
          label="Filter"
          value={text}
          onInput={setText}
          options={suggestions(text)}
          wrong={wrongAt(shown.fault, 'filter')}
          placeholder="action = REDRIVE AND time >= 2026-01-31T00:00:00Z"
          wide
        />
        <div class="buttons">
          <button class="primary">Search</button>
          <button type="button" class="quiet" onClick={() => go('audit', { service })}>
            Everything
          </button>
        </div>
      </form>
      <Preview call={list('')} />
      <ul class="rows" data-testid="audit">
        {pages.items.map((event) => (
          <li key={event.id}>
            <One event={event} />
          </li>
        ))}
      </ul>
      <More
        pages={shown}
        at={{ filter: 'Filter' }}
        empty={isTyped ? 'Search, and it is listed here.' : filter ? 'Nothing meets this filter.' : 'Nothing was done yet.'}
      />
    </Card>
  );
}

function One({ event }: { event: AuditEvent }) {
  const who = event.operator || event.subject || 'nobody said who';
  return (
    <div class="event">
      <div class="headline">
        <strong>{event.action}</strong>
        <span>
          <bdi>{who}</bdi>
          {event.operator && event.subject ? <span class="faint"> ({event.subject})</span> : null}
        </span>
        <Time at={event.time} />
      </div>
      <p class="faint"><bdi>{what(event)}</bdi></p>
      <p class="ids faint">
        {event.orderId && (
          <a href={to('order', { id: event.orderId })}>
            order <Id id={event.orderId} />
          </a>
        )}
        {event.traceId && (
          <span>
            trace <Id id={event.traceId} />
          </span>
        )}
      </p>
    </div>
  );
}

/** What it was about. The list does not say in which currency. */
function what(event: AuditEvent): string {
  const count = (text: string | undefined) => (text && text !== '0' ? text.replace('-', '−') : '');
  const parts = [
    event.userId && `account of ${event.userId}`,
    count(event.amount) && `${count(event.amount)} in minor units`,
    event.filter,
    count(event.affected) && !/PAUSE|RESUME/.test(event.action ?? '') && `messages: ${count(event.affected)}`,
    event.reason && !event.filter?.includes(event.reason) && `because: ${event.reason}`,
  ];
  return parts.filter((part) => part).join(' · ');
}
