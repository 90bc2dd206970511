// The place in the application, in the fragment of the URL: `#/orders?status=NEW`. Links work, and so does the button that goes back.
import { Store, useStore } from './store';

/** A place: its path, and what is chosen there. */
export interface Place {
  readonly path: readonly string[];
  readonly query: Readonly<Record<string, string>>;
}

function read(): Place {
  const [path = '', query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const parts = path.split('/').filter((part) => part !== '');
  return { path: parts.map(decoded), query: Object.fromEntries(new URLSearchParams(query)) };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

const place = new Store(read());
/** The field whose letters have made the present place. */
let typedIn: string | undefined;

addEventListener('hashchange', () => {
  typedIn = undefined;
  place.set(read());
});

/** Whether this is the tab that is shown. */
export const isAt = (tab: string): boolean => (place.get().path[0] ?? '') === tab;

export const usePlace = (): Place => useStore(place);

/** The link to a place. */
export function link(path: string, query: Readonly<Record<string, string>> = {}): string {
  const chosen = Object.entries(query).filter(([, value]) => value !== '');
  const text = new URLSearchParams(chosen).toString();
  return `#/${path}${text ? `?${text}` : ''}`;
}

/** Goes to a place; `instead` of the present one, of which nothing is remembered then. */
export function go(path: string, query: Readonly<Record<string, string>> = {}, instead = false): void {
  typedIn = undefined;
  if (!instead) {
    location.hash = link(path, query);
    return;
  }
  history.replaceState(null, '', link(path, query));
  place.set(read());
}

/** Goes to the place of what is typed in a field. Its letters together are one place to go back from. */
export function goByTyping(field: string, path: string, query: Readonly<Record<string, string>>): void {
  // By these and not by `location.hash`: what is typed next is known at once, and not only after an event.
  if (field === typedIn) history.replaceState(null, '', link(path, query));
  else history.pushState(null, '', link(path, query));
  typedIn = field;
  place.set(read());
}
