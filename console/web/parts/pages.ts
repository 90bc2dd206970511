// Lists that go on as far as anybody scrolls.
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Call } from './call';
import { Failed, type Fault } from './fault';
import { send } from './send';
import { useStore } from './store';
import { token } from './token';

/** What is loaded of a list. */
export interface Pages<Item> {
  readonly items: readonly Item[];
  /** How often it was read from its beginning. */
  readonly readings: number;
  /** Whether there is more. */
  readonly hasMore: boolean;
  readonly isLoading: boolean;
  readonly fault?: Fault | undefined;
  readonly more: () => void;
  /** Reads what is loaded anew. */
  readonly reload: () => void;
  /** The same within a second, once for all who ask meanwhile. */
  readonly refresh: () => void;
  /** Changes items that are there. */
  readonly change: (change: (items: readonly Item[]) => readonly Item[]) => void;
}

interface Loaded<Item> {
  /** Of which list. */
  readonly name: string;
  readonly items: readonly Item[];
  readonly next: string | undefined;
  readonly readings: number;
}

/** Items of a page, and the most that a page has. */
export const PAGE = 50;
const LARGEST = 1_000;

/**
 * The pages of a list: `list` makes the call for a page, `of` takes its answer apart. Another `name` is another list; until it is there, the one
 * before is shown. Without a call nothing is listed.
 */
export function usePages<Answer, Item>(
  name: string,
  list: (pageToken: string, pageSize: number) => Call<Answer> | undefined,
  of: (answer: Answer) => { items: readonly Item[]; next: string | undefined },
): Pages<Item> {
  const [loaded, setLoaded] = useState<Loaded<Item>>({ name, items: [], next: '', readings: 0 });
  const [isLoading, setLoading] = useState(false);
  const [fault, setFault] = useState<Fault>();
  const [round, setRound] = useState(0);
  const who = useStore(token);
  const latest = useRef(0);
  const soon = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  /** From a place in the list, or with `''` all that is loaded. */
  const load = async (from: string) => {
    const isOther = loaded.name !== name;
    const size = from || isOther ? PAGE : Math.min(LARGEST, Math.max(PAGE, loaded.items.length));
    const call = list(from, size);
    latest.current += 1;
    const number = latest.current;
    if (!call) {
      setLoading(false);
      setFault(undefined);
      return setLoaded({ name, items: [], next: undefined, readings: 0 });
    }
    setLoading(true);
    setFault(undefined);
    try {
      // What nobody has clicked is not noted: it would bury what somebody has.
      const { items, next } = of(await send(call, from !== '' || (!isOther && loaded.readings > 0)));
      if (number !== latest.current) return;
      setLoaded((now) => ({
        name,
        items: from ? [...now.items, ...items] : items,
        next: next || undefined,
        readings: from ? now.readings : now.readings + 1,
      }));
    } catch (error) {
      if (number !== latest.current || !(error instanceof Failed)) return;
      setFault(error.fault);
      if (isOther) setLoaded((now) => ({ ...now, name, items: [], next: '' }));
    }
    setLoading(false);
  };
  useEffect(() => void load(''), [name, round, who]);
  useEffect(() => () => clearTimeout(soon.current), []);
  const reload = () => setRound((now) => now + 1);
  const refresh = () => {
    soon.current ??= setTimeout(() => {
      soon.current = undefined;
      reload();
    }, 1_000);
  };
  return {
    items: loaded.items,
    readings: loaded.readings,
    hasMore: loaded.next !== undefined,
    isLoading,
    fault,
    more: () => isLoading || void load(fault?.reason === 'INVALID_PAGE_TOKEN' ? '' : (loaded.next ?? '')),
    reload,
    refresh,
    change: (change) => setLoaded((now) => ({ ...now, items: change(now.items) })),
  };
}

/** A ref for what stands below the list: `more` is called when it comes into sight. */
export function useSight(more: () => void, isWanted: boolean) {
  const below = useRef<HTMLDivElement>(null);
  const call = useRef(more);
  call.current = more;
  useEffect(() => {
    if (!isWanted || !below.current) return;
    const observer = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && call.current(), {
      rootMargin: '400px',
    });
    observer.observe(below.current);
    return () => observer.disconnect();
  });
  return below;
}
