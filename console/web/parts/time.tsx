// Times: in UTC, as the clock on the wall has them, and how long ago.
import { useEffect } from 'preact/hooks';
import { Store, useStore } from './store';

const now = new Store(Date.now());
let watched = 0;
let timer: ReturnType<typeof setInterval> | undefined;

/** The time, once a second as long as anybody looks. */
function useNow(): number {
  useEffect(() => {
    watched += 1;
    timer ??= setInterval(() => document.hidden || now.set(Date.now()), 1_000);
    return () => {
      watched -= 1;
      if (watched === 0) {
        clearInterval(timer);
        timer = undefined;
      }
    };
  }, []);
  return useStore(now);
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

function local(date: Date): string {
  return `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
}

/** A time: of today without its day. `compact` leaves the wall clock to the tooltip. */
export function Time({ at, compact }: { at: string | undefined; compact?: boolean }) {
  const current = useNow();
  if (!at) return <span class="faint">–</span>;
  const date = new Date(at);
  const { day, time } = utc(date);
  const today = utc(new Date(current)).day === day;
  const wall = local(date);
  const shown = `${today ? '' : `${day} `}${time} UTC`;
  const full = `${day} ${time} UTC, ${date.toLocaleString()} here`;
  return (
    <time dateTime={at} title={full} class="time">
      {shown}
      <span class="faint">
        {compact || wall === time ? ' · ' : ` · ${wall} here · `}
        {relative(date.getTime(), current)}
      </span>
    </time>
  );
}
