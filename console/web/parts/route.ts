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
addEventListener('hashchange', () => place.set(read()));

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
  if (!instead) {
    location.hash = link(path, query);
    return;
  }
  history.replaceState(null, '', link(path, query));
  place.set(read());
}
