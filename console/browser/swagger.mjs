// Swagger UI in a browser: in front of a mesh that wants tokens (`EDGE`), and of one that asks nobody (`OPEN`).
import assert from 'node:assert/strict';
import { ask, has, holds, launch, leave, open } from './world.mjs';

const { EDGE, OPEN } = process.env;

const browser = await launch();
try {
  const { page, close } = await open(browser, EDGE);
  await page.goto(`${EDGE}/swagger/index.html`);
  const list = page.locator('.opblock-get').filter({ has: page.locator('[data-path="/gateway/orders"]') });
  await list.locator('.opblock-summary-control').click();
  const listed = async (status) => {
    await list.getByRole('button', { name: 'Execute' }).click();
    await has(list.locator('.live-responses-table .response .response-col_status'), status);
  };
  await listed('401');
  await page.locator('.scheme-container').getByRole('button', { name: 'Authorize' }).click();
  const dialog = page.locator('.modal-ux');
  await dialog.getByLabel('auth-bearer-value').fill(await ask('token alice 1h'));
  await dialog.locator('button.authorize[type=submit]').click();
  await dialog.locator('.btn-done').click();
  await listed('200');
  holds('Swagger UI has a button for a token, and calls with it');
  await close();

  const other = await open(browser, OPEN);
  await other.page.goto(`${OPEN}/swagger/index.html`);
  await other.page.locator('.opblock-get').first().waitFor();
  assert.equal(await other.page.getByRole('button', { name: 'Authorize' }).count(), 0);
  assert.equal(await other.page.locator('.authorization__btn').count(), 0);
  holds('where nobody is asked for a token there is no button');
  await other.close();
} finally {
  await browser.close();
  leave();
}
