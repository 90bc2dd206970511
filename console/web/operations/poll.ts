// Asks again and again, as long as the page is to be seen.
import { useEffect, useState } from 'preact/hooks';
import type { Call } from '../parts/call';
import { Failed, type Fault } from '../parts/fault';
import { send } from '../parts/send';
import { useStore } from '../parts/store';
import { token, wanted } from '../parts/token';

/** What was answered last, and what is wrong since. */
export interface Polled<Answer> {
  readonly answer?: Answer;
  readonly fault?: Fault;
  /** When it was answered, as `Date.now()` counts. */
  readonly at?: number;
  readonly again: () => void;
}

/** Calls `work` every so many milliseconds, each time after the one before has ended, while the page is to be seen, until it is in vain. */
export function useTicks(milliseconds: number, work: () => Promise<void | 'vain'>, about: readonly unknown[]): void {
  useEffect(() => {
    let isOver = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let [isUnderWay, isVain] = [false, false];
    const tick = async () => {
      clearTimeout(timer);
      if (isOver || isVain || isUnderWay || document.hidden) return;
      isUnderWay = true;
      try {
        // Nobody is let in before somebody has signed in.
        if (!wanted.get()) isVain = (await work()) === 'vain';
      } finally {
        isUnderWay = false;
        if (!isOver) timer = setTimeout(() => void tick(), milliseconds);
      }
    };
    const turn = () => void tick();
    turn();
    document.addEventListener('visibilitychange', turn);
    return () => {
      isOver = true;
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', turn);
    };
  }, about);
}

/** What a read answers, every so many milliseconds. */
export function usePoll<Answer>(name: string, call: () => Call<Answer> | undefined, milliseconds: number): Polled<Answer> {
  const [state, setState] = useState<Omit<Polled<Answer>, 'again'> & { name: string }>({ name });
  const [round, setRound] = useState(0);
  const who = useStore(token);
  useTicks(
    milliseconds,
    async () => {
      const what = call();
      if (!what) return undefined;
      try {
        const answer = await send(what, true);
        setState({ name, answer, at: Date.now() });
        return undefined;
      } catch (error) {
        if (!(error instanceof Failed)) return undefined;
        const { fault } = error;
        setState((now) => (now.name === name ? { ...now, fault } : { name, fault }));
        // The same question has the same answer until somebody asks anew, or with another token.
        if (fault.status === 403 || fault.status === 404) return 'vain';
        return undefined;
      }
    },
    [name, milliseconds, round, who],
  );
  // What is known of another thing is nothing of this one.
  const known = state.name === name ? state : {};
  return { ...known, again: () => setRound((now) => now + 1) };
}
