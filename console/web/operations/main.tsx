// The operations room: what is on which tab, and who looks.
import { render } from 'preact';
import '../parts/style.css';
import './operations.css';
import { Log, Repeats } from '../parts/calls';
import { link as to, usePlace } from '../parts/route';
import { Heading, keepFocus } from '../parts/said';
import { owner, resume } from '../parts/send';
import { SignIn, Signed } from '../parts/signin';
import { useStore } from '../parts/store';
import { token, wanted } from '../parts/token';
import { Card, Chip, Empty, Wrong } from '../parts/ui';
import { Audit } from './audit';
import { Books } from './books';
import { Explain } from './explain';
import { Overview } from './overview';
import { Parked } from './parked';
import { Pauses } from './pauses';
import { acts, askRights, discover, services, trouble } from './services';

const TABS = [
  ['', 'Overview', Overview],
  ['parked', 'Parked', Parked],
  ['order', 'Order', Explain],
  ['pauses', 'Pauses', Pauses],
  ['books', 'Books', Books],
  ['audit', 'Audit', Audit],
] as const;

function Console() {
  const known = useStore(services);
  const fault = useStore(trouble);
  const mayAct = useStore(acts);
  // What somebody has read who has signed out is not for the next one.
  const [isSigned, isAsked] = [useStore(token) !== '', useStore(wanted) !== undefined];
  const isOut = isAsked && !isSigned;
  const tab = usePlace().path[0] ?? '';
  const found = TABS.find(([at]) => at === tab);
  const Tab = found?.[2];
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById('main')?.focus(); }}>
        Skip to the content
      </a>
      <header class="top">
        <p class="brand">
          ordermesh <span>operations</span>
        </p>
        <nav aria-label="Parts of the console">
          {TABS.map(([at, text]) => (
            <a key={at} href={to(at)} aria-current={tab === at ? 'page' : undefined}>
              {text}
            </a>
          ))}
        </nav>
        <span class="signed">
          {mayAct === false && <Chip kind="plain">read only</Chip>}
          <Signed />
        </span>
      </header>
      <main id="main" tabIndex={-1}>
        <Heading text={found?.[1] ?? 'No such page'} of="ordermesh operations" />
        <Wrong fault={fault} again={() => void discover()} />
        <Repeats />
        {known && known.length === 0 && (
          <Card title="Nobody can be an operator here">
            <p>This process has no admin services: start it with an ADMIN_TOKEN, or with an issuer.</p>
          </Card>
        )}
        {!Tab && <Empty>There is no such page. Choose one above.</Empty>}
        {known && known.length > 0 && Tab && !isOut && <Tab />}
        <Card title="What was sent" tone="quiet">
          <Log />
        </Card>
      </main>
      <SignIn
        how={
          <>
            It is the <code>ADMIN_TOKEN</code> that the process was started with, or a token of the issuer for <code>admin:read</code> or{' '}
            <code>admin:write</code>. Where the mesh was started by <code>up --auth dev</code>, this makes one:
          </>
        }
        command={'ordermesh token --user olga \\\n  --scope admin:write'}
      />
    </>
  );
}

const root = document.getElementById('app');
if (root) {
  root.replaceChildren();
  keepFocus();
  render(<Console />, root);
  // From here on it can be used.
  performance.mark('usable');
  void discover();
  // Lists are read again and again: what comes of it is seen there.
  const goOn = () => resume(() => {});
  goOn();
  owner.follow(goOn);
  // Until the service has said what a new token is good for nothing changes: what is half entered stays.
  token.follow(() => void askRights());
}
