// The counter: an account, money on it, and an order.
import { useLayoutEffect, useState } from 'preact/hooks';
import type { Call } from '../parts/call';
import { Preview } from '../parts/calls';
import { Failed, unanswered, wrongAt, type Fault } from '../parts/fault';
import { minorOf, money } from '../parts/money';
import { go, isAt } from '../parts/route';
import { Said } from '../parts/said';
import { send, STOPPED } from '../parts/send';
import { useStore } from '../parts/store';
import { Card, Field, Wrong } from '../parts/ui';
import { useKey } from '../parts/write';
import { openAccount, placeOrder, topUp } from './calls';
import { account, currencyOf, refresh, type AccountState } from './user';

const CURRENCIES = ['RUB', 'EUR', 'USD', 'GBP', 'JPY', 'KWD'];

/** A write of a form. What went wrong is said until the form says something else. */
function useWrite<Answer>(make: (key: string) => Call<Answer> | undefined, then: (answer: Answer) => void) {
  const content = JSON.stringify(make(''));
  const { key, isStopped, renew } = useKey(content, make);
  const [failed, setFailed] = useState<{ content: string; fault: Fault }>();
  const [isUnderWay, setUnderWay] = useState(false);
  const call = make(key);
  const run = async (event: Event) => {
    event.preventDefault();
    if (!call || isUnderWay) return;
    setUnderWay(true);
    setFailed(undefined);
    try {
      then(await send(call));
    } catch (error) {
      if (error instanceof Failed) {
        setFailed({ content, fault: error.fault });
        // It may be refused because of what somebody has done meanwhile, such as in another window.
        void refresh();
      }
    }
    renew();
    setUnderWay(false);
  };
  const known = failed && failed.content === content ? failed.fault : isStopped ? { ...unanswered(), ...STOPPED } : undefined;
  return { call, fault: isUnderWay ? undefined : known, isUnderWay, run };
}

export function Account({ user }: { user: string }) {
  const state = useStore(account);
  return (
    <Card title="Account" aside={<span class="faint">{user}</span>}>
      <Said text={spoken(state)} />
      <Balance state={state} />
      {state.state === 'none' && <Open user={user} />}
      {state.state === 'there' && <TopUp user={user} currency={currencyOf(state)} />}
      {state.state === 'failed' && <Wrong fault={state.fault} again={() => void refresh()} />}
    </Card>
  );
}

/** The balance for who does not see it. */
function spoken(state: AccountState): string {
  if (state.state === 'none') return 'No account.';
  return state.state === 'there' ? `Balance: ${money(state.account.balance, state.account.currencyCode)}` : '';
}

function Balance({ state }: { state: AccountState }) {
  if (state.state === 'none') return <p>There is no account yet. Orders without one end cancelled.</p>;
  if (state.state !== 'there') return <p class="amount">…</p>;
  return (
    <p class="amount" data-testid="balance">
      {money(state.account.balance, state.account.currencyCode)}
    </p>
  );
}

function Open({ user }: { user: string }) {
  const [currency, setCurrency] = useState('RUB');
  const code = currency.trim().toUpperCase();
  const unlike = /^[A-Z]{3}$/.test(code) ? undefined : 'Write the three letters of a currency.';
  const { call, fault, isUnderWay, run } = useWrite(
    (key) => (unlike ? undefined : openAccount(user, code, key)),
    () => void refresh(),
  );
  const wrong = unlike ?? wrongAt(fault, 'currencyCode');
  return (
    <form onSubmit={(event) => void run(event)}>
      <Field label="Currency" value={currency} onInput={setCurrency} options={CURRENCIES} wrong={wrong} hint="It never changes." />
      <Wrong fault={fault} at={{ currencyCode: 'Currency' }} />
      <div class="buttons">
        <button class="primary" aria-disabled={isUnderWay}>Open an account</button>
      </div>
      <Preview call={call} />
    </form>
  );
}

function TopUp({ user, currency }: { user: string; currency: string }) {
  const [text, setText] = useState('');
  const amount = minorOf(text, currency);
  const { call, fault, isUnderWay, run } = useWrite(
    (key) => ('minor' in amount ? topUp(user, amount.minor, currency, key) : undefined),
    () => {
      setText('');
      void refresh();
    },
  );
  const wrong = text !== '' && 'wrong' in amount ? amount.wrong : wrongAt(fault, 'amount');
  return (
    <form onSubmit={(event) => void run(event)}>
      <Field label={`Top up by, in ${currency}`} value={text} onInput={setText} mode="decimal" wrong={wrong} required />
      <Wrong fault={fault} at={{ amount: 'Top up by' }} />
      <div class="buttons">
        <button aria-disabled={isUnderWay}>Top up</button>
      </div>
      <Preview call={call} />
    </form>
  );
}

export function PlaceOrder({ user }: { user: string }) {
  const state = useStore(account);
  const [description, setDescription] = useState('');
  const [text, setText] = useState('');
  const [currency, setCurrency] = useState(currencyOf(state));
  const own = currencyOf(state);
  // Before anybody has typed another one.
  useLayoutEffect(() => setCurrency(own), [own]);
  const code = currency.trim().toUpperCase();
  const amount = minorOf(text, code);
  const { call, fault, isUnderWay, run } = useWrite(
    (key) =>
      'minor' in amount ? placeOrder({ userId: user, amount: amount.minor, currencyCode: code, description }, key) : undefined,
    (order) => {
      setText('');
      setDescription('');
      // Who has gone elsewhere meanwhile finds it there.
      if (isAt('')) go('', { order: order.id ?? '' });
    },
  );
  const wrong = text !== '' && 'wrong' in amount ? amount.wrong : wrongAt(fault, 'amount');
  return (
    <Card title="New order">
      <form onSubmit={(event) => void run(event)}>
        <Field label="What" value={description} onInput={setDescription} placeholder="Green tea, 100 g" wrong={wrongAt(fault, 'description')} wide />
        <div class="row">
          <Field label="Amount" value={text} onInput={setText} mode="decimal" wrong={wrong} required />
          <Field label="Currency" value={currency} onInput={setCurrency} options={CURRENCIES} wrong={wrongAt(fault, 'currencyCode')} required />
        </div>
        <Wrong fault={fault} at={{ description: 'What', amount: 'Amount', currencyCode: 'Currency' }} />
        <div class="buttons">
          <button class="primary" aria-disabled={isUnderWay}>Place the order</button>
        </div>
        <Preview call={call} />
      </form>
    </Card>
  );
}
