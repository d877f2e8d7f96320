import { expect, test } from './network';
const shot = (page: any, name: string) => page.screenshot({ path: `/tmp/web/${name}.png`, fullPage: true });
test('dev', async ({ signedIn: page, network }) => {
  const t = await network.api<any>('/api/v1/measurements?wait=30s', { kind: 'trace', inputs: ['target005', 'target005', 'target009'], from: 'all' });
  await page.goto(`${network.url}/measurements/${t.id}`);
  await expect(page.getByRole('heading', { name: 'Paths' })).toBeVisible();
  await page.waitForTimeout(800);
  await shot(page, 'trace');
  const m = await network.api<any>('/api/v1/measurements?wait=30s', { kind: 'multipath', inputs: ['target005'], from: 'continent:EU' });
  await page.goto(`${network.url}/measurements/${m.id}`);
  await page.waitForTimeout(800);
  await page.emulateMedia({ colorScheme: 'dark' });
  await shot(page, 'multipath');
});
