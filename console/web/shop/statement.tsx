// The account: every booking with the balance after it, and the balance as a line.
import { Chart } from '../parts/chart';
import { money, rounded } from '../parts/money';
import { More } from '../parts/more';
import { usePages } from '../parts/pages';
import { Preview } from '../parts/calls';
import { go, link as to, usePlace } from '../parts/route';
import { useStore } from '../parts/store';
import { Time } from '../parts/time';
import { Card, Choice, Empty, Id, isOneOf } from '../parts/ui';
import { listEntries, type Entry } from './calls';
import { account, currencyOf, useBeginnings, useChanges } from './user';

const TYPES = [
  ['', 'everything'],
  ['TOP_UP', 'top-ups'],
  ['ORDER_DEBIT', 'orders'],
] as const;

export function Statement({ user }: { user: string }) {
  const type = usePlace().query['type'] ?? '';
  const state = useStore(account);
  const currency = currencyOf(state);
  const filter = type ? `type = ${type}` : '';
  const isListed = isOneOf(TYPES, type);
  const list = (pageToken: string, pageSize?: number) => (isListed ? listEntries(user, filter, pageToken, pageSize) : undefined);
  const pages = usePages(filter, list, (answer) => ({
    items: answer.entries ?? [],
    next: answer.nextPageToken,
  }));
  useChanges((orders) => orders.some((order) => order.status === 'FINISHED') && pages.refresh());
  useBeginnings(pages.reload);
  if (state.state === 'none') {
    return (
      <Card title="Statement">
        <Empty>There is no account yet. Open one at the counter.</Empty>
      </Card>
    );
  }
  return (
    <Card
      title="Statement"
      aside={
        <span class="amount small">
          {state.state === 'there' ? money(state.account.balance, currency) : '…'}
        </span>
      }
    >
      {filter === '' && pages.items.length > 1 && <BalanceChart entries={pages.items} currency={currency} />}
      <div class="filters">
        <Choice label="Show" value={type} onChange={(value) => go('account', { type: value })} options={TYPES} />
      </div>
      <Preview call={list('')} />
      <div class="scroll" tabIndex={0} role="region" aria-label="Bookings">
        <table class="stacked" data-testid="statement">
          <thead>
            <tr>
              <th scope="col">No.</th>
              <th scope="col">Booking</th>
              <th scope="col" class="number">Amount</th>
              <th scope="col" class="number">Balance</th>
              <th scope="col">When</th>
            </tr>
          </thead>
          <tbody>
            {pages.items.map((entry) => (
              <Booking key={entry.id} entry={entry} currency={currency} />
            ))}
          </tbody>
        </table>
      </div>
      <More pages={pages} empty={!isListed ? 'Nothing is listed by what is wrong above.' : filter ? 'There is no such booking.' : 'Nothing was booked yet. Top up at the counter.'} />
    </Card>
  );
}

function Booking({ entry, currency }: { entry: Entry; currency: string }) {
  const isIn = entry.type === 'TOP_UP';
  return (
    <tr>
      <td>{entry.sequence}</td>
      <td>
        {isIn ? (
          'Top-up'
        ) : (
          <>
            Order{' '}
            <a href={to('', { order: entry.orderId ?? '' })}>
              <Id id={entry.orderId ?? ''} />
            </a>
          </>
        )}
      </td>
      <td class={isIn ? 'number good' : 'number'} data-label="Amount">
        {isIn ? '+' : ''}
        {money(entry.amount, currency)}
      </td>
      <td class="number" data-label="Balance">{money(entry.balanceAfter, currency)}</td>
      <td>
        <Time at={entry.createTime} compact />
      </td>
    </tr>
  );
}

/** The balance after each booking that is loaded. A picture may round: numbers stay beside it as they are. */
function BalanceChart({ entries, currency }: { entries: readonly Entry[]; currency: string }) {
  const oldest = [...entries].reverse();
  const points = oldest.map((entry) => Number(entry.balanceAfter ?? 0));
  const label = (value: number) => money(BigInt(Math.round(value)), currency);
  const first = oldest[0];
  const last = oldest.at(-1);
  return (
    <Chart
      title="Balance"
      summary={`From ${money(first?.balanceAfter, currency)} after booking ${first?.sequence} to ${money(last?.balanceAfter, currency)} after booking ${last?.sequence}.`}
      series={[{ name: 'balance', points }]}
      places={oldest.map((entry) => Number(entry.sequence ?? 0))}
      at={(sequence) => `booking ${sequence}`}
      label={label}
      tick={(value) => rounded(value, currency)}
      steps
    />
  );
}
