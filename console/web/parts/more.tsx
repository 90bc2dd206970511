// What stands below a list: more of it, its end, or why it does not go on.
import { useEffect, useState } from 'preact/hooks';
import type { Labels } from './fault';
import type { Pages } from './pages';
import { useSight } from './pages';
import { Said } from './said';
import { Empty, Wrong } from './ui';

export function More<Item>({ pages, empty, at }: { pages: Pages<Item>; empty: string; at?: Labels }) {
  const { items, hasMore, isLoading, fault, more, reload } = pages;
  const below = useSight(more, hasMore && !isLoading && !fault && items.length > 0);
  const [said, say] = useState('');
  // What somebody has asked for has come; what changes in a list is said by that.
  useEffect(() => {
    if (isLoading || fault || pages.readings === 0) return;
    say(items.length === 0 ? 'Nothing is shown.' : `${items.length} are shown, ${hasMore ? 'and there are more' : 'and no more'}.`);
  }, [isLoading, pages.readings]);
  return (
    <div ref={below} class="more">
      <Said text={said} />
      <Wrong fault={fault} again={items.length > 0 ? more : reload} at={at} />
      {!fault && items.length === 0 && <Empty>{isLoading || hasMore ? 'Loading…' : empty}</Empty>}
      {!fault && items.length > 0 && (
        <p class="faint">
          {isLoading ? 'Loading more…' : hasMore ? `${items.length} so far` : `All ${items.length}`}
        </p>
      )}
      {!fault && items.length > 0 && hasMore && (
        <button type="button" class="quiet" aria-disabled={isLoading} onClick={more}>
          Load more
        </button>
      )}
    </div>
  );
}
