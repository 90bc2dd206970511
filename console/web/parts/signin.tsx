// Where a token is taken, when the mesh wants one.
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { focusHeading } from './said';
import { useStore } from './store';
import { claims, sign, token, wanted } from './token';
import { Field } from './ui';

/** A dialog that takes a token as soon as one is wanted. `how` says where to get one. */
export function SignIn({ how, command }: { how: ComponentChildren; command: string }) {
  const why = useStore(wanted);
  const dialog = useRef<HTMLDialogElement>(null);
  const [text, setText] = useState('');
  useEffect(() => {
    if (why && !dialog.current?.open) dialog.current?.showModal();
    if (why || !dialog.current?.open) return;
    // What had the focus before has it again, where anything had it.
    dialog.current.close();
    if (document.activeElement === document.body || dialog.current.contains(document.activeElement)) focusHeading();
  }, [why]);
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
        <p>{why}</p>
        <Field label="Token" value={text} onInput={setText} type="password" required wide hint="It stays in this tab, and goes to nobody but this server." />
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
  const leave = () => {
    sign('');
    location.reload();
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
