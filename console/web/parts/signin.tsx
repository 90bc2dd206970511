// Where a token is taken, when the mesh wants one.
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { Kept } from './calls';
import { focusHeading } from './said';
import { log } from './send';
import { useStore } from './store';
import { claims, sign, token, wanted } from './token';
import { Field, Reason } from './ui';

/** A dialog that takes a token as soon as one is wanted. `how` says where to get one. */
export function SignIn({ how, command }: { how: ComponentChildren; command: string }) {
  const refused = useStore(wanted);
  const isWanted = refused !== undefined;
  const isSigned = useStore(token) !== '';
  const dialog = useRef<HTMLDialogElement>(null);
  const [text, setText] = useState('');
  useEffect(() => {
    if (isWanted && !dialog.current?.open) dialog.current?.showModal();
    if (isWanted || !dialog.current?.open) return;
    // What had the focus before has it again, where anything had it.
    dialog.current.close();
    if (document.activeElement === document.body || dialog.current.contains(document.activeElement)) focusHeading();
  }, [isWanted]);
  return (
    // Browsers let a second Escape close it whatever is said: it is opened again, as long as nothing can be done without a token.
    <dialog
      ref={dialog}
      aria-labelledby="signin"
      onCancel={(event) => event.preventDefault()}
      onClose={() => wanted.get() && dialog.current?.showModal()}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (text.trim() === '') return;
          sign(text);
          setText('');
        }}
      >
        <h2 id="signin">Sign in</h2>
        <p>{refused?.why}</p>
        {isWanted && !isSigned && <Kept />}
        <Field label="Token" value={text} onInput={setText} type="password" required wide hint="It stays in this tab, and goes to nobody but this server." />
        {refused?.fault && <Reason fault={refused.fault} />}
        <p class="faint">{how}</p>
        <pre tabIndex={0} role="region" aria-label="How to make a token">{command}</pre>
        <div class="buttons">
          <button class="primary">Sign in</button>
        </div>
      </form>
    </dialog>
  );
}

/** Who is signed in, and how to leave. */
export function Signed() {
  const text = useStore(token);
  if (!text) return null;
  const { sub } = claims(text);
  // Without a request: who leaves may have no network.
  const leave = () => {
    log.set([]);
    sign('', { why: 'You have signed out.' });
  };
  return (
    <span class="signed">
      {sub && <span class="who">{sub}</span>}
      <button type="button" class="small quiet" onClick={leave}>
        Sign out
      </button>
    </span>
  );
}
