// What is said to who does not see the page: the tab that was chosen, what has changed, and where the focus goes when what had it is gone.
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';

/** The shortest time between two sentences of one place, in milliseconds: what changes all the time is not said all the time. */
const CALM = 5_000;

/** A sentence that a screen reader says whenever it has become another one: the latest, after some calm. */
export function Said({ text }: { text: string }) {
  const [said, say] = useState('');
  const last = useRef(0);
  useEffect(() => {
    if (text === said) return;
    // It is filled after it was drawn: a region that comes with its text is not said.
    const timer = setTimeout(() => {
      last.current = Date.now();
      say(text);
    }, Math.max(0, last.current + CALM - Date.now()));
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <p class="hidden" role="status">
      {said}
    </p>
  );
}

/** The heading of the tab. It has the focus when another tab was chosen, and the page begins at its top. */
export function Heading({ text, of }: { text: string; of: string }) {
  const before = useRef(text);
  useLayoutEffect(() => {
    document.title = `${text} · ${of}`;
    if (before.current === text) return;
    before.current = text;
    scrollTo(0, 0);
    focusHeading();
  }, [text]);
  return (
    <h1 class="hidden" tabIndex={-1}>
      {text}
    </h1>
  );
}

export const focusHeading = () => document.querySelector('h1')?.focus({ preventScroll: true });

/** What is taken away while it has the focus leaves it to what it was in: nobody begins at the top of the page again. */
export function keepFocus(): void {
  let had: HTMLElement[] = [];
  addEventListener('focusin', ({ target }) => {
    had = [];
    for (let at = target instanceof HTMLElement ? target : null; at; at = at.parentElement) {
      if (at === target || at.matches('li, section, main')) had.push(at);
    }
  });
  // Whoever points elsewhere has left it.
  addEventListener('pointerdown', () => (had = []), { capture: true });
  new MutationObserver(() => {
    if (document.activeElement !== document.body || !had[0] || had[0].isConnected) return;
    const at = had.find((one) => one.isConnected);
    if (!at) return;
    at.tabIndex = -1;
    at.focus({ preventScroll: true });
  }).observe(document.body, { childList: true, subtree: true });
}
