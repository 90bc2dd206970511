// The token of whoever looks at the page: kept as long as the tab, and sent to nobody but the server of the page.
import { refusal, type Fault, type Refusal } from './fault';
import { Store } from './store';

const KEY = 'ordermesh.token';

/** The token; empty without. */
export const token = new Store(sessionStorage.getItem(KEY) ?? '');

/** Why a token is asked for; `undefined` when none is. */
export const wanted = new Store<Refusal | undefined>(undefined);

/** Asks for a token. Why it was asked for before stays, unless a token was tried since. */
export function want(fault: Fault): void {
  wanted.update((now) => (now && !fault.refused ? now : refusal(fault)));
}

/** Takes a token, or with an empty one leaves: `why` another one is asked for then. */
export function sign(text: string, why?: Refusal): void {
  const clean = text.trim().replace(/^bearer\s+/i, '');
  if (clean) sessionStorage.setItem(KEY, clean);
  else sessionStorage.removeItem(KEY);
  wanted.set(why);
  token.set(clean);
}

/** What a token says of itself: for the eye only, whether it is true is the server's to say. */
export function claims(text: string): { sub?: string; exp?: number; scope?: string } {
  try {
    const part = (text.split('.')[1] ?? '').replace(/-/g, '+').replace(/_/g, '/');
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(part), (letter) => letter.charCodeAt(0))));
  } catch {
    return {};
  }
}
