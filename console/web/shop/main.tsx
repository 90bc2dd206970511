// The shop: whose it is, what is on which tab, and what was sent.
import { render } from 'preact';
import { useState } from 'preact/hooks';
import '../parts/style.css';
import { Kept, Log, Repeats } from '../parts/calls';
import { go, isAt, link as to, usePlace } from '../parts/route';
import { Heading, keepFocus } from '../parts/said';
import { resume, send } from '../parts/send';
import { SignIn, Signed } from '../parts/signin';
import { useStore } from '../parts/store';
import { token } from '../parts/token';
import { Card, Empty, Field } from '../parts/ui';
import { listOrders, type Order } from './calls';
import { OrderView } from './order';
import { Orders } from './orders';
import { Account, PlaceOrder } from './place';
import { Statement } from './statement';
import { become, refresh, useBoard, user } from './user';

const TABS = [
  ['', 'Counter'],
  ['orders', 'Orders'],
  ['account', 'Statement'],
] as const;

function Shop() {
  const name = useStore(user);
  const { path, query } = usePlace();
  const tab = path[0] ?? '';
  const isSigned = useStore(token) !== '';
  useBoard(name);
  const heading = name ? (TABS.find(([at]) => at === tab)?.[1] ?? 'No such page') : 'Entrance';
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById('main')?.focus(); }}>
        Skip to the content
      </a>
      <header class="top">
        <p class="brand">
          ordermesh <span>shop</span>
        </p>
        <nav aria-label="Parts of the shop">
          {TABS.map(([at, text]) => (
            <a key={at} href={to(at)} aria-current={tab === at ? 'page' : undefined}>
              {text}
            </a>
          ))}
        </nav>
        <Who name={name} />
      </header>
      <main id="main" tabIndex={-1}>
        <Heading text={heading} of="ordermesh shop" />
        <Repeats />
        {!name && !isSigned && <Kept />}
        {name ? <Tab key={name} tab={tab} name={name} order={query['order'] ?? ''} /> : isSigned ? <Empty>Looking whose token it is…</Empty> : <Welcome />}
        <Card title="What was sent" tone="quiet">
          <Log />
        </Card>
      </main>
      <SignIn how={<>Where the mesh was started by <code>up --auth dev</code>, this makes one:</>} command="ordermesh token --user alice" />
    </>
  );
}

function Tab({ tab, name, order }: { tab: string; name: string; order: string }) {
  if (tab === 'orders') return <Orders user={name} />;
  if (tab === 'account') return <Statement user={name} />;
  if (tab !== '') return <Empty>There is no such page. Choose one above.</Empty>;
  return (
    <div class="columns">
      <div>
        <Account user={name} />
        <PlaceOrder user={name} />
      </div>
      <Card title="The order">
        {order ? <OrderView key={order} id={order} /> : <Empty>Place an order, and watch here how it is paid.</Empty>}
      </Card>
    </div>
  );
}

/** Who it is: the subject of a token, or a name that anybody may give themselves where nobody is asked. */
function Who({ name }: { name: string }) {
  if (useStore(token)) return <Signed />;
  if (!name) return <span />;
  return (
    <span class="signed">
      <span class="who">{name}</span>
      <button type="button" class="small quiet" onClick={() => become('')}>
        Change
      </button>
    </span>
  );
}

function Welcome() {
  const [text, setText] = useState('');
  // Keyboards of phones put a space behind a word.
  const name = text.trim();
  // Dots alone are steps in a path: no browser sends them as a name.
  const isName = /^[A-Za-z0-9._-]{1,64}$/.test(name) && !/^\.+$/.test(name);
  const wrong = name !== '' && !isName ? 'Letters, digits, dots, hyphens and underscores: at most 64.' : undefined;
  return (
    <Card title="Who is shopping?">
      <p>Open an account, put money on it, place an order and watch how it is paid.</p>
      <form
        class="welcome"
        onSubmit={(event) => {
          event.preventDefault();
          if (isName) become(name);
        }}
      >
        <Field label="Name" value={text} onInput={setText} wrong={wrong} placeholder="alice" required />
        <div class="buttons">
          <button class="primary">Enter</button>
          <button type="button" class="quiet" onClick={() => become(`guest-${Math.random().toString(36).slice(2, 8)}`)}>
            As a guest
          </button>
        </div>
      </form>
    </Card>
  );
}

/** Where the mesh wants tokens, or another one than this, it says so before anybody has filled in a form. */
function ask(): void {
  // With a token, whose orders it is about is the token's to say.
  const userId = token.get() ? '' : '-';
  send(listOrders({ userId, filter: '', orderBy: '', pageToken: '' }), true).catch(() => {});
}

const root = document.getElementById('app');
if (root) {
  root.replaceChildren();
  keepFocus();
  render(<Shop />, root);
  // From here on it can be used.
  performance.mark('usable');
  ask();
  token.follow(ask);
  const goOn = () =>
    resume((call, answer) => {
      void refresh();
      if (call.path === 'gateway/orders' && isAt('')) go('', { order: (answer as Order).id ?? '' });
    });
  goOn();
  let before = user.get();
  user.follow(() => {
    // An order at the counter was that of the user before.
    if (before && isAt('')) go('', {}, true);
    before = user.get();
    goOn();
  });
}
