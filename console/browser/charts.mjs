// Whether charts can be read: the numbers of a scale stand at its lines, and on nothing that is drawn.
import assert from 'node:assert/strict';

const PHONE = { width: 360, height: 740 };

/** Where the parts of each chart are, as the browser has laid them out. Lines without a value, which take no room, are left out. */
const layout = (page) =>
  page.evaluate(() => {
    const box = (one) => {
      const { left, right, top, bottom } = one.getBoundingClientRect();
      return { left, right, top, bottom };
    };
    const boxes = (chart, what) => [...chart.querySelectorAll(what)].map(box);
    return [...document.querySelectorAll('.chart')].map((chart) => ({
      title: chart.querySelector('figcaption span').textContent,
      edges: box(chart),
      plot: box(chart.querySelector('svg')),
      labels: boxes(chart, '.ticks span'),
      grid: boxes(chart, 'svg .grid'),
      drawn: boxes(chart, 'svg path').filter(({ left, right, top, bottom }) => right > left || bottom > top),
    }));
  });

const overlap = (one, other) => one.left < other.right && other.left < one.right && one.top < other.bottom && other.top < one.bottom;

const middle = ({ top, bottom }) => (top + bottom) / 2;

/** Each label is beside the plot at the height of its line, and overlaps nothing, in this window and on a phone. */
export async function isClear(page, what) {
  // One value alone is a dot.
  await page.waitForFunction(() => [...document.querySelectorAll('.chart path')].some((line) => /[LH]/.test(line.getAttribute('d'))));
  const before = page.viewportSize();
  for (const size of [before, PHONE]) {
    await page.setViewportSize(size);
    const charts = await layout(page);
    assert.ok(charts.some(({ drawn }) => drawn.length > 0), `${what}: nothing is drawn`);
    for (const { title, edges, plot, labels, grid, drawn } of charts) {
      const at = `${what}, ${title}, ${size.width} pixels`;
      assert.equal(labels.length, grid.length, `${at}: each line has a label`);
      labels.forEach((label, index) => {
        const others = [plot, ...drawn, ...labels.filter((other) => other !== label)];
        const below = others.filter((other) => overlap(label, other));
        assert.deepEqual(below, [], `${at}: label ${index} at ${JSON.stringify(label)} overlaps these`);
        assert.ok(Math.abs(middle(label) - middle(grid[index])) < 2, `${at}: label ${index} is not at its line`);
        assert.ok(label.left >= edges.left && label.right <= edges.right, `${at}: label ${index} is cut off`);
      });
    }
  }
  await page.setViewportSize(before);
}
