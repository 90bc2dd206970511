// How the process is doing, as it goes: what waits, how old it is, how much is done and how quickly.
import { useState } from 'preact/hooks';
import { url } from '../parts/call';
import { Chart, type Series } from '../parts/chart';
import { atServer } from '../parts/clock';
import { link as to } from '../parts/route';
import { Said } from '../parts/said';
import { useStore } from '../parts/store';
import { span, Time } from '../parts/time';
import { Card, Wrong } from '../parts/ui';
import { getStatus, type Status } from './calls';
import { parse, quantile, sum, type Scrape } from './metrics';
import { usePoll, useTicks } from './poll';
import { Process, readinessOf, type Readiness } from './process';
import { services } from './services';

/** Seconds between two looks, and how far back charts go. */
const EVERY = 2;
const BACK = 300;

/** What one look at `/metrics` and `/readyz` has shown. */
interface Look {
  readonly at: number;
  readonly scrape: Scrape;
}

/** What this listener answers at a path, also when it is not ready; nothing when it does not, or not soon. */
async function asked(path: string): Promise<string> {
  try {
    const answer = await fetch(url({ path }), { signal: AbortSignal.timeout(5_000) });
    return await answer.text();
  } catch {
    return '';
  }
}

export function Overview() {
  const names = (useStore(services) ?? []).map(({ name }) => name);
  const [looks, setLooks] = useState<readonly Look[]>([]);
  const [readiness, setReadiness] = useState<Readiness>();
  useTicks(
    EVERY * 1_000,
    async () => {
      const [metrics, ready] = await Promise.all([asked('metrics'), asked('readyz')]);
      const look = { at: Date.now(), scrape: parse(metrics) };
      setLooks((now) => [...now.filter(({ at }) => at > look.at - BACK * 1_000), look]);
      setReadiness(readinessOf(ready));
    },
    [],
  );
  return (
    <>
      <div class="tiles">
        {names.map((name) => (
          <Waits key={name} service={name} />
        ))}
      </div>
      <Charts looks={looks} names={names} />
      <Process readiness={readiness} names={names} />
    </>
  );
}

const COUNTS: readonly (readonly [keyof Status, string])[] = [
  ['outboxPending', 'in the outbox'],
  ['outboxUnroutable', 'unroutable'],
  ['parked', 'parked'],
  ['waiting', 'waiting'],
  ['held', 'held'],
  ['redriven', 'sent back'],
  ['deadLetters', 'dead letters'],
];

/** Those that want a person. */
const ALARMING = new Set<keyof Status>(['outboxUnroutable', 'parked', 'held', 'deadLetters']);

/** What wants a person, for who does not see the colour. */
function spoken(service: string, status: Status): string {
  const bad = COUNTS.filter(([name]) => ALARMING.has(name) && (status[name] ?? '0') !== '0');
  return `${service}: ${bad.map(([name, text]) => `${text} ${status[name]}`).join(', ') || 'nothing wants a person'}`;
}

/** What waits in a service, read every second. */
function Waits({ service }: { service: string }) {
  const { answer, fault, at } = usePoll(service, () => getStatus(service), 1_000);
  return (
    <Card title={service} aside={at === undefined ? undefined : <span class="faint">read <Time at={new Date(atServer(at)).toISOString()} compact /></span>}>
      <Said text={fault ? `${service}: what waits is not known` : answer ? spoken(service, answer) : ''} />
      <Wrong fault={fault} />
      {answer && (
        <dl class={fault ? 'counts old' : 'counts'} data-testid={`waits-${service}`}>
          {COUNTS.map(([name, text]) => {
            const count = answer[name] ?? '0';
            const isBad = ALARMING.has(name) && count !== '0';
            return (
              <div key={name} class={isBad ? 'bad' : ''}>
                <dt>{text}</dt>
                <dd>{isBad && name === 'parked' ? <a href={to('parked', { service })}>{count}</a> : count}</dd>
              </div>
            );
          })}
        </dl>
      )}
      {answer?.outboxOldestTime && (
        <p class="faint">
          The oldest message waits since <Time at={answer.outboxOldestTime} />
        </p>
      )}
    </Card>
  );
}

const number = (value: number) => (value >= 100 || Number.isInteger(value) ? Math.round(value).toString() : value.toFixed(1));
const seconds = (value: number) => (value < 1 ? `${Math.round(value * 1_000)} ms` : value < 10 ? `${value.toFixed(1)} s` : span(value));

function Charts({ looks, names }: { looks: readonly Look[]; names: readonly string[] }) {
  const each = (value: (look: Look, before: Look | undefined) => number | undefined) =>
    looks.slice(1).map((look, index) => value(look, looks[index]));
  /** A rate is of two looks that follow each other: of a tab that was hidden meanwhile, there is none. */
  const between = (value: (before: Look, look: Look, seconds: number) => number | undefined) =>
    each((look, before) => {
      const passed = before ? (look.at - before.at) / 1_000 : 0;
      return before && passed > 0 && passed < 4 * EVERY ? value(before, look, passed) : undefined;
    });
  const rate = (name: string, having: string) =>
    between((before, look, passed) => {
      const [then, now] = [sum(before.scrape, name, having), sum(look.scrape, name, having)];
      return now === undefined ? undefined : Math.max(0, now - (then ?? 0)) / passed;
    });
  const depth = names.map((name): Series => ({
    name,
    points: each(({ scrape }) => sum(scrape, 'messaging_outbox_messages', `/${name}"`)),
  }));
  const parked: Series = { name: 'parked', points: each(({ scrape }) => sum(scrape, 'messaging_parked_messages', 'state="parked"')) };
  const age = names.map((name): Series => ({
    name,
    points: each(({ scrape }) => sum(scrape, 'messaging_outbox_oldest_age_seconds', `/${name}"`)),
  }));
  const handled = names.map((name): Series => ({
    name: `handled by ${name}`,
    points: rate('messaging_commit_to_effect_seconds_count', `consumer="${name}"`),
  }));
  const calls: Series = { name: 'calls', points: rate('rpc_server_call_duration_seconds_count', '') };
  const latency = (share: number, text: string): Series => ({
    name: text,
    points: between((before, look) => quantile(before.scrape, look.scrape, 'messaging_commit_to_effect_seconds', share)),
  });
  const places = looks.slice(1).map(({ at }) => at);
  const at = (place: number) => `${new Date(atServer(place)).toISOString().slice(11, 19)} UTC`;
  const last = (series: readonly Series[], label: (value: number) => string) =>
    series.map((one) => `${one.name}: ${one.points.at(-1) === undefined ? 'none' : label(one.points.at(-1) ?? 0)}`).join(', ');
  const chart = (title: string, series: readonly Series[], label: (value: number) => string) => (
    <Chart
      title={title}
      summary={`At the last look, ${last(series, label)}.`}
      series={series}
      places={places}
      at={at}
      label={label}
      gap={4_000 * EVERY}
    />
  );
  return (
    <Card title="The last five minutes" aside={<span class="faint">a look every {EVERY} s, none while the tab is hidden</span>}>
      <div class="charts">
        {chart('Messages that wait', [...depth, parked], number)}
        {chart('Age of the oldest in the outbox', age, seconds)}
        {chart('A second', [...handled, calls], number)}
        {chart('From commit to effect', [latency(0.5, 'half within'), latency(0.99, '99 % within')], seconds)}
      </div>
    </Card>
  );
}
