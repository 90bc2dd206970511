// Lists that go on as far as anybody scrolls.
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import type { Call } from './call';
import { Failed, type Fault } from './fault';
import { send } from './send';

/** What is loaded of a list. */
export interface Pages<Item> {
  readonly items: readonly Item[];
  /** Whether there is more. */
  readonly hasMore: boolean;
  readonly isLoading: boolean;
  readonly fault?: Fault | undefined;
  readonly more: () => void;
  readonly reload: () => void;
  /** Changes items that are there. */
  readonly change: (change: (items: readonly Item[]) => readonly Item[]) => void;
}

interface Loaded<Item> {
  readonly items: readonly Item[];
  readonly next: string | undefined;
}

/** The pages of a list: `list` makes the call for a page, `of` takes its answer apart. Another `name` is another list. */
export function usePages<Answer, Item>(
  name: string,
  list: (pageToken: string) => Call<Answer> | undefined,
  of: (answer: Answer) => { items: readonly Item[]; next: string | undefined },
): Pages<Item> {
  const [loaded, setLoaded] = useState<Loaded<Item>>({ items: [], next: '' });
  const [isLoading, setLoading] = useState(false);
  const [fault, setFault] = useState<Fault>();
  const [round, setRound] = useState(0);
  const latest = useRef(0);
  const load = useCallback(
    async (from: Loaded<Item>) => {
      const call = list(from.next ?? '');
      if (!call || from.next === undefined) return;
      const number = ++latest.current;
      setLoading(true);
      setFault(undefined);
      try {
        const { items, next } = of(await send(call));
        if (number !== latest.current) return;
        setLoaded((now) => ({ items: from.next === '' ? items : [...now.items, ...items], next: next || undefined }));
      } catch (error) {
        if (number === latest.current && error instanceof Failed) setFault(error.fault);
      }
      if (number === latest.current) setLoading(false);
    },
    [name],
  );
  useEffect(() => void load({ items: [], next: '' }), [name, round]);
  return {
    items: loaded.items,
    hasMore: loaded.next !== undefined,
    isLoading,
    fault,
    more: () => isLoading || void load(loaded),
    reload: () => setRound((now) => now + 1),
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
