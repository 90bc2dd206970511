// Times: in UTC, as the clock on the wall has them, and how long ago by the server's clock.
import { useEffect, useRef, useState } from 'preact/hooks';
import { now as clock } from './clock';
import { Store } from './store';

const now = new Store(clock());
let watched = 0;
let timer: ReturnType<typeof setInterval> | undefined;

/** How long ago it is, as long as anybody looks. Drawn anew only when that is another text: a thousand times may stand in a list. */
function useRelative(at: number): string {
  // It stood still as long as nobody looked.
  if (watched === 0) now.set(clock());
  // By the clock itself: what has just come is not ahead of it.
  const text = relative(at, clock());
  const shown = useRef(text);
  shown.current = text;
  const [, redraw] = useState({});
  useEffect(() => {
    watched += 1;
    timer ??= setInterval(() => document.hidden || now.set(clock()), 1_000);
    const leave = now.follow(() => relative(at, now.get()) !== shown.current && redraw({}));
    return () => {
      leave();
      watched -= 1;
      if (watched > 0) return;
      clearInterval(timer);
      timer = undefined;
    };
  }, [at]);
  return text;
}

/** How long a time is from now: `5 s ago`, `in 3 min`. */
export function relative(at: number, from: number): string {
  const seconds = Math.round((from - at) / 1_000);
  // Clocks of two machines differ by a little.
  if (Math.abs(seconds) < 2) return 'now';
  const text = span(Math.abs(seconds));
  return seconds > 0 ? `${text} ago` : `in ${text}`;
}

/** So many seconds, in the largest unit that fits. */
export function span(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

const pad = (number: number) => number.toString().padStart(2, '0');

function utc(date: Date): { day: string; time: string } {
  const text = date.toISOString();
  return { day: text.slice(0, 10), time: text.slice(11, 19) };
}

/** The same by the clock on the wall. */
function local(date: Date): { day: string; time: string } {
  return {
    day: `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`,
    time: `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`,
  };
}

/**
 * A time in UTC, of today without its day; by the clock on the wall, where that shows another one; and how long ago. `compact`: without its day and
 * seconds there, so that it keeps its line.
 */
export function Time({ at, compact }: { at: string | undefined; compact?: boolean }) {
  const date = new Date(at ?? 0);
  const ago = useRelative(date.getTime());
  if (!at) return <span class="faint">–</span>;
  const [there, here] = [utc(date), local(date)];
  const today = utc(new Date(now.get())).day === there.day;
  const wall = compact ? here.time.slice(0, 5) : `${here.day === there.day ? '' : `${here.day} `}${here.time}`;
  return (
    <time dateTime={at} title={`${there.day} ${there.time} UTC, ${here.day} ${here.time} here`} class="time">
      {today ? '' : `${there.day} `}
      {there.time} UTC
      <span class="faint">
        {here.time === there.time && here.day === there.day ? ' · ' : ` · ${wall} here · `}
        {ago}
      </span>
    </time>
  );
}
