// What a page makes its thread do, in processor time: a machine that is busy with something else makes a page wait, and none of its tasks longer.
import assert from 'node:assert/strict';

/** What the browser notes of tasks, of what they are called, and of when a script draws a frame. */
const CATEGORIES = ['toplevel', 'devtools.timeline', 'disabled-by-default-devtools.timeline'];

/** What the browser notes while `work` is done. */
async function traceOf(page, work) {
  const session = await page.context().newCDPSession(page);
  const events = [];
  session.on('Tracing.dataCollected', ({ value }) => events.push(...value));
  await session.send('Tracing.start', { transferMode: 'ReportEvents', traceConfig: { includedCategories: CATEGORIES } });
  await work();
  const over = new Promise((resolve) => session.once('Tracing.tracingComplete', resolve));
  await session.send('Tracing.end');
  const { dataLossOccurred } = await over;
  await session.detach();
  assert.equal(dataLossOccurred, false, 'everything is noted');
  return events;
}

/** What is in nothing else of the same thread, in its order. */
function outermost(events) {
  let end = 0;
  return events
    .sort((a, b) => a.ts - b.ts || b.dur - a.dur)
    .filter(({ ts, dur }) => {
      if (ts < end) return false;
      end = ts + dur;
      return true;
    });
}

/** What a thread did from each frame that a script draws (`requestAnimationFrame`) until the next one, in milliseconds of processor time. */
function framesOf(events, tasks) {
  const drawn = events.filter(({ name }) => name === 'FireAnimationFrame').map(({ ts }) => ts);
  const frames = [0];
  for (const { ts, dur, tdur } of tasks) {
    frames[frames.length - 1] += tdur / 1_000;
    if (drawn.some((at) => at >= ts && at <= ts + dur)) frames.push(0);
  }
  return frames;
}

/**
 * Processor time of the page's thread while `work` is done, in milliseconds: of its longest task, of all that it did within its longest frame, and of
 * `all`.
 */
export async function costs(page, work) {
  const events = await traceOf(page, work);
  // The browser has processes for pages that are to come, or have gone: they do nothing.
  const mains = events.filter(({ name, args }) => name === 'thread_name' && args.name === 'CrRendererMain');
  const all = mains.map(({ pid, tid }) => {
    const mine = events.filter((event) => event.pid === pid && event.tid === tid && event.ph === 'X' && event.tdur !== undefined);
    const tasks = outermost(mine);
    const frames = framesOf(mine, tasks);
    const task = Math.max(0, ...tasks.map(({ tdur }) => tdur / 1_000));
    return { tasks: tasks.length, task, frame: Math.max(...frames), all: frames.reduce((sum, frame) => sum + frame, 0) };
  });
  const busiest = all.sort((a, b) => b.tasks - a.tasks)[0];
  assert.ok(busiest?.tasks > 10, `${busiest?.tasks} tasks were seen`);
  return busiest;
}
