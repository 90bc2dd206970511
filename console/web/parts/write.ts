// The idempotency key of what a form writes.
import { useMemo, useState } from 'preact/hooks';
import { newKey, type Call } from './call';
import { stoppedKey } from './send';

/**
 * A key stays until there is an answer or the form says something else, since lines that were shown may have been run meanwhile; and what was
 * stopped has its key again. `content` is what the form says, and `make` the write by a key. `renew` ends the key.
 */
export function useKey(content: string | undefined, make: (key: string) => Call<unknown> | undefined) {
  const [round, setRound] = useState(0);
  const stopped = useMemo(() => stoppedKey(make), [content, round]);
  const fresh = useMemo(newKey, [content, round]);
  return { key: stopped ?? fresh, isStopped: stopped !== undefined, renew: () => setRound((now) => now + 1) };
}
