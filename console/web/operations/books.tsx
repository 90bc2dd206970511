// Whether the books agree: orders with payments, and what came in, less what was paid, with what accounts hold.
import { useState } from 'preact/hooks';
import { Preview } from '../parts/calls';
import { now } from '../parts/clock';
import { Failed, type Fault } from '../parts/fault';
import { money } from '../parts/money';
import { send } from '../parts/send';
import { useStore } from '../parts/store';
import { Time } from '../parts/time';
import { Card, Chip, Empty, Wrong } from '../parts/ui';
import { reconcile, type Books as Answer } from './calls';
import { Compared } from './compared';
import { services } from './services';

export function Books() {
  const names = (useStore(services) ?? []).map(({ name }) => name);
  return (
    <>
      {names.includes('orders') && <Compared />}
      {names.includes('payments') && <Sums />}
      {!names.includes('payments') && <Empty>Accounts are added up by payments: ask the admin listener of a process that serves it.</Empty>}
      {!names.includes('orders') && <Empty>Orders are compared by orders: ask the admin listener of a process that serves it.</Empty>}
    </>
  );
}

function Sums() {
  const [sums, setSums] = useState<{ answer: Answer; at: string }>();
  const [fault, setFault] = useState<Fault>();
  const [isUnderWay, setUnderWay] = useState(false);
  const add = async () => {
    if (isUnderWay) return;
    setUnderWay(true);
    setFault(undefined);
    try {
      setSums({ answer: await send(reconcile()), at: new Date(now()).toISOString() });
    } catch (error) {
      if (error instanceof Failed) setFault(error.fault);
    }
    setUnderWay(false);
  };
  return (
    <Card title="Accounts added up" aside={sums && <span class="faint">added up <Time at={sums.at} compact /></span>}>
      <p>Accounts and ledger, currency by currency, in one reading. It reads everything: not for every minute.</p>
      <div class="buttons">
        <button type="button" class="primary" aria-disabled={isUnderWay} onClick={() => void add()}>
          Add them up
        </button>
      </div>
      <Preview call={reconcile()} />
      <Wrong fault={fault} />
      {sums && (sums.answer.currencies ?? []).length === 0 && <Empty>There are no accounts.</Empty>}
      {sums && (sums.answer.currencies ?? []).length > 0 && (
        <div class="scroll" tabIndex={0} role="region" aria-label="Sums">
          <table class="stacked" data-testid="books">
            <thead>
              <tr>
                <th scope="col">Currency</th>
                <th scope="col" class="number">Accounts</th>
                <th scope="col" class="number">Top-ups</th>
                <th scope="col" class="number">Debits</th>
                <th scope="col" class="number">Balances</th>
                <th scope="col">Agree</th>
              </tr>
            </thead>
            <tbody>
              {(sums.answer.currencies ?? []).map((one) => (
                <Currency key={one.currencyCode} one={one} />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Card>
  );
}

function Currency({ one }: { one: NonNullable<Answer['currencies']>[number] }) {
  const differs = BigInt(one.topUps ?? 0) - BigInt(one.debits ?? 0) - BigInt(one.balances ?? 0);
  return (
    <tr>
      <td>{one.currencyCode}</td>
      <td class="number" data-label="Accounts">{one.accounts ?? 0}</td>
      <td class="number" data-label="Top-ups">{money(one.topUps ?? '0', one.currencyCode)}</td>
      <td class="number" data-label="Debits">{money(one.debits ?? '0', one.currencyCode)}</td>
      <td class="number" data-label="Balances">{money(one.balances ?? '0', one.currencyCode)}</td>
      <td>
        {differs === 0n ? <Chip kind="good">agree</Chip> : <Chip kind="bad">differ by {money(differs, one.currencyCode)}</Chip>}
      </td>
    </tr>
  );
}
