// What stands below a list: more of it, its end, or why it does not go on.
import type { Pages } from './pages';
import { useSight } from './pages';
import { Empty, Wrong } from './ui';

export function More<Item>({ pages, empty }: { pages: Pages<Item>; empty: string }) {
  const { items, hasMore, isLoading, fault, more, reload } = pages;
  const below = useSight(more, hasMore && !isLoading && !fault && items.length > 0);
  return (
    <div ref={below} class="more">
      <Wrong fault={fault} again={items.length > 0 ? more : reload} />
      {!fault && items.length === 0 && <Empty>{isLoading || hasMore ? 'Loading…' : empty}</Empty>}
      {!fault && items.length > 0 && (
        <p class="faint" aria-live="polite">
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
