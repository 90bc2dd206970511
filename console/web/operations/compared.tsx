// What orders and payments have stored otherwise, and what heals it.
import { useEffect, useRef } from 'preact/hooks';
import { Preview } from '../parts/calls';
import { atServer } from '../parts/clock';
import { More } from '../parts/more';
import { usePages } from '../parts/pages';
import { go, link as to, usePlace } from '../parts/route';
import { Said } from '../parts/said';
import { useStore } from '../parts/store';
import { Time } from '../parts/time';
import { Card, Chip, Choice, Id, Wrong } from '../parts/ui';
import { Act } from './act';
import { heal, listDifferences, type Compared as Answer, type Difference } from './calls';
import { usePoll } from './poll';
import { acts } from './services';

const WHICH = [
  ['', 'there are'],
  ['true', 'were, and are healed'],
] as const;

export function Compared() {
  const healed = usePlace().query['healed'] === 'true';
  const mayAct = useStore(acts);
  const { answer, fault, at } = usePoll('compared', () => listDifferences(false, '', 1), 5_000);
  const list = (pageToken: string, pageSize?: number) => listDifferences(healed, pageToken, pageSize);
  const pages = usePages(String(healed), list, (page) => ({ items: page.differences ?? [], next: page.nextPageToken }));
  const total = answer?.total ?? '0';
  // Something was found, or has healed: it is another list.
  const before = useRef<string | undefined>(undefined);
  useEffect(() => {
    if (answer && before.current !== undefined && before.current !== total) pages.reload();
    if (answer) before.current = total;
  }, [answer, total]);
  return (
    <Card title="Orders and payments compared" aside={at !== undefined && <span class="faint">read <Time at={new Date(atServer(at)).toISOString()} compact /></span>}>
      <Said text={answer ? `Differences: ${total}` : ''} />
      <Wrong fault={fault} />
      {answer && <Progress answer={answer} />}
      {mayAct && total !== '0' && (
        <Act button="Heal them now" needsReason make={(by) => heal(by)} then={pages.reload} look="the differences" again={pages.reload}>
          <p>What can be healed by itself is tried again within seconds, instead of at its time.</p>
        </Act>
      )}
      <div class="filters">
        <Choice label="Differences that" value={healed ? 'true' : ''} onChange={(value) => go('books', { healed: value })} options={WHICH} />
      </div>
      <Preview call={list('')} />
      <ul class="rows" data-testid="differences">
        {pages.items.map((one) => (
          <li key={one.orderId}>
            <One one={one} />
          </li>
        ))}
      </ul>
      <More pages={pages} empty={healed ? 'None was found and healed.' : 'None: both have stored the same.'} />
    </Card>
  );
}

/** How far it has come. */
function Progress({ answer }: { answer: Answer }) {
  const total = answer.total ?? '0';
  return (
    <div data-testid="compared" class="said">
      <p>
        {total === '0' ? <Chip kind="good">no differences</Chip> : <Chip kind="bad">{total === '1' ? '1 difference' : `${total} differences`}</Chip>}
      </p>
      {answer.error && <p class="faint">Nothing is compared by this process at present: {answer.error}.</p>}
      {answer.comparedTime && (
        <p class="faint">
          Orders were compared from <Time at={answer.sweepTime} compact /> to <Time at={answer.comparedTime} compact />
        </p>
      )}
      {answer.sweepEndTime && (
        <p class="faint">
          All of them were, back to the first one, <Time at={answer.sweepEndTime} />
        </p>
      )}
    </div>
  );
}

function One({ one }: { one: Difference }) {
  return (
    <div class="event">
      <div class="headline">
        <strong>{one.kind}</strong>
        <a href={to('order', { id: one.orderId ?? '' })}>
          order <Id id={one.orderId ?? ''} />
        </a>
        <Time at={one.findTime} />
      </div>
      <p>{one.sentence}</p>
      <p class="faint">
        {one.healTime ? (
          <>
            Healed <Time at={one.healTime} compact />
          </>
        ) : one.nextHealTime ? (
          <>
            Tried {one.healAttempts === 1 ? 'once' : `${one.healAttempts ?? 0} times`}; the next time <Time at={one.nextHealTime} compact />
          </>
        ) : (
          'Somebody has to look.'
        )}
      </p>
    </div>
  );
}
