// What a screen reader gets of a page: Chromium's accessibility tree, and what is said by itself.
import assert from 'node:assert/strict';

const sessions = new WeakMap();

/** A connection to the browser for each page. */
async function sessionOf(page) {
  if (!sessions.has(page)) sessions.set(page, await page.context().newCDPSession(page));
  return sessions.get(page);
}

const wordsOf = (value) => (value?.value ?? '').replace(/\s+/g, ' ').trim();

/** The nodes of the tree that a screen reader sees, each with its role, its name and its properties. */
export async function tree(page) {
  const { nodes } = await (await sessionOf(page)).send('Accessibility.getFullAXTree');
  const seen = nodes.filter(({ ignored }) => !ignored);
  const found = seen.map(({ nodeId, parentId, role, name, properties = [] }) => ({
    id: nodeId,
    parent: parentId,
    role: role?.value ?? '',
    name: wordsOf(name),
    ...Object.fromEntries(properties.map((one) => [one.name, one.value.value])),
  }));
  // Of a node that is not seen, the children are those of the one above.
  const all = new Map(nodes.map((node) => [node.nodeId, node]));
  const ids = new Set(found.map(({ id }) => id));
  const above = (id) => (id === undefined || ids.has(id) ? id : above(all.get(id)?.parentId));
  return found.map((node) => ({ ...node, parent: above(node.parent) }));
}

/** What has to be named: who comes there knows nothing else of it. */
const NAMED = new Set([
  'button', 'link', 'textbox', 'searchbox', 'combobox', 'ComboBoxMenuList', 'ComboBoxSelect', 'listbox', 'checkbox', 'radio', 'spinbutton',
  'slider', 'switch', 'tab', 'DisclosureTriangle', 'progressbar', 'image', 'img', 'region', 'navigation', 'dialog', 'heading', 'columnheader',
]);

/** Every control has a name, every table its headers, and the page one heading and one main part. */
export async function isReadable(page, what) {
  const nodes = await tree(page);
  const nameless = nodes.filter(({ role, name }) => NAMED.has(role) && name === '');
  assert.deepEqual(nameless, [], `${what}: a screen reader has no name for these`);
  const focusable = nodes.filter(({ focusable, role, name }) => focusable && name === '' && !['RootWebArea', 'main', 'generic', 'paragraph', 'listitem'].includes(role));
  assert.deepEqual(focusable, [], `${what}: the focus comes to what has no name`);
  const within = (node, role) => {
    for (let at = node; at; at = nodes.find(({ id }) => id === at.parent)) if (at.role === role) return at;
  };
  for (const table of nodes.filter(({ role }) => role === 'table')) {
    const of = (roles) => nodes.filter((node) => roles.includes(node.role) && within(node, 'table') === table);
    const headers = of(['columnheader']).length;
    assert.ok(headers > 0, `${what}: a table has no headers`);
    for (const row of of(['row'])) {
      const cells = nodes.filter(({ parent, role }) => parent === row.id && ['cell', 'gridcell', 'columnheader', 'rowheader'].includes(role));
      assert.equal(cells.length, headers, `${what}: a row has other cells than headers`);
    }
  }
  // Where a dialog asks for something, there is nothing else.
  if (nodes.some(({ role, modal }) => role === 'dialog' && modal)) return;
  const many = (test) => nodes.filter(test).length;
  assert.equal(many(({ role, level }) => role === 'heading' && level === 1), 1, `${what} has one heading`);
  assert.equal(many(({ role }) => role === 'main'), 1, `${what} has one main part`);
}

/** What has the focus: its role and its name. */
export async function focused(page) {
  const session = await sessionOf(page);
  const { result } = await session.send('Runtime.evaluate', { expression: 'document.activeElement' });
  const { nodes } = await session.send('Accessibility.getPartialAXTree', { objectId: result.objectId, fetchRelatives: false });
  await session.send('Runtime.releaseObject', { objectId: result.objectId });
  return result.className === 'HTMLBodyElement' ? 'nothing' : `${nodes[0].role?.value} ${wordsOf(nodes[0].name)}`;
}

/** From now on notes what is said by itself: regions that change, and alerts that come. What comes with its region is not said, but for alerts. */
export const note = (page) =>
  page.evaluate(() => {
    const said = (globalThis.said = []);
    const LIVE = '[aria-live="polite"], [aria-live="assertive"], [role="status"], [role="alert"]';
    const live = (node) => (node instanceof Element ? node : node.parentElement)?.closest(LIVE);
    new MutationObserver((changes) => {
      const regions = new Set(changes.map(({ target }) => live(target)));
      for (const { addedNodes } of changes) {
        for (const one of addedNodes) {
          if (!(one instanceof Element)) continue;
          for (const alert of [one, ...one.querySelectorAll('*')]) if (alert.matches('[role="alert"]')) regions.add(alert);
        }
      }
      for (const region of regions) {
        const text = region?.isConnected ? region.textContent.replace(/\s+/g, ' ').trim() : '';
        if (text) said.push(text);
      }
    }).observe(document, { childList: true, characterData: true, subtree: true });
  });

/** Waits until this was said since `note`. */
export const isSaid = (page, text) =>
  page.waitForFunction(([source, flags]) => globalThis.said.some((one) => new RegExp(source, flags).test(one)), [text.source, text.flags]);

/** What was said since `note`, or since this was asked. */
export const saidSince = (page) => page.evaluate(() => globalThis.said.splice(0));

/** Presses the tabulator until the focus is at this: `button Top up`; with `Shift+Tab` backwards. */
export async function tabTo(page, what, key = 'Tab') {
  const seen = [];
  for (let at = await focused(page); !what.test(at); at = await focused(page)) {
    seen.push(at);
    assert.ok(seen.length < 60, `${what} cannot be reached: ${seen.join(', ')}`);
    await page.keyboard.press(key);
  }
}
