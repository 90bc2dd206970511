// Follows a stream of the API: by EventSource, or where a token has to be sent by fetch, which can. Goes on after an outage where it was.
import { url, type Call } from './call';
import { faultOf, problemOf } from './fault';
import { token, want, wanted } from './token';

/** How a stream is doing. */
export type Link = 'connecting' | 'live' | 'lost' | 'ended';

/** What is followed, and who follows it. */
export interface Watch<Event> {
  readonly call: Call<Event>;
  readonly onEvent: (event: Event) => void;
  readonly onLink: (link: Link) => void;
  /** The version seen last; the stream goes on after it. */
  readonly after?: () => string;
}

const PAUSE = 1_000;

/**
 * Follows until what it returns is called, or until the end of the stream. Not while the tab is hidden: a browser has six connections to a server,
 * for all of its tabs together.
 */
export function watch<Event>(what: Watch<Event>): () => void {
  let isOver = false;
  let close = () => {};
  let timer: ReturnType<typeof setTimeout> | undefined;
  const stop = () => {
    clearTimeout(timer);
    close();
    close = () => {};
  };
  const end = (link: Link) => {
    if (isOver) return;
    stop();
    if (link === 'ended') isOver = true;
    what.onLink(link);
    if (link === 'lost') timer = setTimeout(open, PAUSE);
  };
  const open = () => {
    if (isOver || document.hidden) return;
    // Nobody is let in before somebody has signed in.
    if (wanted.get()) {
      timer = setTimeout(open, PAUSE);
      return;
    }
    const after = what.after?.();
    const query = { ...what.call.query, ...(after ? { afterVersion: after } : {}) };
    const at = url({ ...what.call, query });
    let isCurrent = true;
    const ends = (link: Link) => isCurrent && end(link);
    const shut = token.get() ? byFetch(at, what, ends) : byEventSource(at, what, ends);
    close = () => {
      isCurrent = false;
      shut();
    };
  };
  const turn = () => {
    stop();
    open();
  };
  what.onLink('connecting');
  open();
  document.addEventListener('visibilitychange', turn);
  return () => {
    isOver = true;
    document.removeEventListener('visibilitychange', turn);
    stop();
  };
}

function byEventSource<Event>(at: string, what: Watch<Event>, end: (link: Link) => void): () => void {
  const source = new EventSource(at);
  source.onopen = () => what.onLink('live');
  source.onmessage = (message) => what.onEvent(JSON.parse(message.data));
  source.addEventListener('end', () => end('ended'));
  source.onerror = (event) => {
    // An error that the server sent, after which the browser connects again as it says.
    if (event instanceof MessageEvent) return what.onLink('lost');
    // The browser tries again by itself, unless the answer was none of a stream: 204 at the end, or a refusal.
    if (source.readyState === EventSource.CONNECTING) return what.onLink('lost');
    void look(at, end);
  };
  return () => source.close();
}

/** Whether asking again changes nothing: there is no more to come, or no such thing. */
function isForGood(status: number): boolean {
  return status === 204 || status === 400 || status === 403 || status === 404;
}

/** Why a browser has given up a stream, which it says to nobody. */
async function look(at: string, end: (link: Link) => void): Promise<void> {
  const stop = new AbortController();
  try {
    const answer = await fetch(at, { headers: { accept: 'text/event-stream, application/problem+json' }, signal: stop.signal });
    if (answer.status === 401) want(await faultOf(answer, false));
    end(isForGood(answer.status) ? 'ended' : 'lost');
  } catch {
    end('lost');
  }
  stop.abort();
}

function byFetch<Event>(at: string, what: Watch<Event>, end: (link: Link) => void): () => void {
  const stop = new AbortController();
  void read(at, what, stop.signal).then(
    (link) => stop.signal.aborted || end(link),
    () => stop.signal.aborted || end('lost'),
  );
  return () => stop.abort();
}

/** Reads lines of JSON until the stream ends. */
async function read<Event>(at: string, what: Watch<Event>, signal: AbortSignal): Promise<Link> {
  const headers = { accept: 'application/x-ndjson, application/problem+json', authorization: `Bearer ${token.get()}` };
  const answer = await fetch(at, { headers, signal, cache: 'no-store' });
  if (answer.status === 401) want(await faultOf(answer, true));
  if (!answer.ok || !answer.body) return isForGood(answer.status) ? 'ended' : 'lost';
  what.onLink('live');
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return 'ended';
    const lines = (rest + value).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines.filter((text) => text.trim() !== '')) {
      const event = JSON.parse(line);
      // The last line of a stream that failed: problem details, or the error object.
      if ('error' in event || 'reason' in event) {
        if (event.status === 401) wanted.set({ why: `The stream has ended: ${event.detail}.`, fault: problemOf(event, 401) });
        return 'lost';
      }
      what.onEvent(event);
    }
  }
}
