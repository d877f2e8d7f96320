// A whole network of this build for the tests of a worker, and a page that is signed in to it.

import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import AxeBuilder from '@axe-core/playwright';
import { expect, test as base, type Page } from '@playwright/test';

const root = new URL('../../', import.meta.url).pathname;
const mmn = process.env['MMN'] ?? join(root, 'target/debug/mmn');

export type Network = {
  url: string;
  token: string;
  /** A link that signs in once. */
  link: () => Promise<string>;
  api: <T>(path: string, body?: unknown) => Promise<T>;
  /** Sends a signal to the network's node. */
  signalNode: (signal: NodeJS.Signals) => void;
  /** Sends a signal to a module of it. */
  signalModule: (name: string, signal: NodeJS.Signals) => void;
};

/** Starts one of this machine alone. */
export const here = () => start([]);

export const LAB = ['--lab', join(root, 'examples/lab/world.toml'), '--lab-driver', 'in-process'];

/** Starts one, of the simulated Internet unless told. */
export async function start(more: readonly string[] = LAB): Promise<{ network: Network; end: () => Promise<void> }> {
  const dir = mkdtempSync(join(tmpdir(), 'mmn-web-'));
  const data = join(dir, 'data');
  const args = ['up', '--data', data, '--listen', '127.0.0.1:0', ...more];
  const up = spawn(mmn, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise<void>((resolve) => up.once('exit', () => resolve()).once('error', () => resolve()));
  let front: Awaited<ReturnType<typeof frontOf>> | undefined;
  const end = async () => {
    await front?.close();
    up.kill('SIGTERM');
    await ended;
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    await ready(up);
  } catch (error) {
    await end();
    throw error;
  }
  const anchor = (JSON.parse(readFileSync(join(data, 'api.json'), 'utf8')) as { url: string }).url;
  front = process.env['MMN_FRONT'] ? await frontOf(anchor) : undefined;
  const url = front?.url ?? anchor;
  const token = readFileSync(join(data, 'creds/client.token'), 'utf8').trim();
  const api = async <T>(path: string, body?: unknown): Promise<T> => {
    const ask = () => fetch(url + path, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    let response = await ask();
    // An anchor that can't take work for a moment says when to come back.
    for (let left = 5; left > 0 && response.status === 503; left -= 1) {
      await new Promise((resolve) => setTimeout(resolve, 1000 * Number(response.headers.get('retry-after') ?? 1)));
      response = await ask();
    }
    expect(response.ok, await response.clone().text()).toBe(true);
    return (await response.json()) as T;
  };
  const link = async () => `${url}/#code=${(await api<{ code: string }>('/api/v1/session/codes', {})).code}`;
  const signalNode = (signal: NodeJS.Signals) => void process.kill(childOf(up.pid!, 'node'), signal);
  const signalModule = (name: string, signal: NodeJS.Signals) => void process.kill(childOf(childOf(up.pid!, 'node'), 'module', name), signal);
  return { network: { url, token, link, api, signalNode, signalModule }, end };
}

/** The site as it was built last, before an anchor that may have an older one in it: to try pages without building Rust. */
async function frontOf(anchor: string): Promise<{ url: string; close: () => Promise<void> }> {
  const { preview } = await import('vite');
  const proxy = { '/api': { target: anchor, ws: true }, '/metrics': anchor, '/healthz': anchor, '/problems': anchor };
  const server = await preview({ root: join(root, 'web'), logLevel: 'error', preview: { host: '127.0.0.1', port: 0, proxy } });
  const { port } = server.httpServer.address() as { port: number };
  return { url: `http://127.0.0.1:${port}`, close: () => server.close() };
}

/** The child of a process whose command line has all these words. */
function childOf(parent: number, ...words: string[]): number {
  const stat = (pid: string) => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ');
  const line = (pid: string) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  const found = readdirSync('/proc').filter((name) => /^\d+$/.test(name)).find((pid) => {
    try {
      return Number(stat(pid)[1]) === parent && words.every((word) => line(pid).includes(word));
    } catch {
      return false; // It ended while it was looked at.
    }
  });
  if (!found) throw new Error(`${parent} has no child ${words.join(' ')}`);
  return Number(found);
}

/** Its last line says what to try. */
function ready(up: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let told = '';
    const hear = (chunk: Buffer) => {
      told += String(chunk);
      if (/^try /m.test(told)) resolve();
    };
    up.stdout?.on('data', hear);
    up.stderr?.on('data', hear);
    up.once('error', reject);
    up.once('exit', () => reject(new Error(`mmn up ended: ${told}`)));
  });
}

export const test = base.extend<{ signedIn: Page; quiet: void }, { network: Network }>({
  network: [
    async ({}, use) => {
      const { network, end } = await start();
      await use(network);
      await end();
    },
    { scope: 'worker', timeout: 60_000 },
  ],
  // What a page complains of in any test is a finding: a policy that is broken, a script that fails, another host that is asked.
  quiet: [
    async ({ page, network }, use) => {
      const findings: string[] = [];
      page.on('pageerror', (error) => findings.push(String(error)));
      page.on('console', (message) => {
        // Answers of the API that are problems are told there, too.
        if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) findings.push(message.text());
      });
      page.on('request', (request) => {
        if (!request.url().startsWith(network.url) && !request.url().startsWith('data:')) findings.push(request.url());
      });
      await use();
      expect(findings.filter((text) => !/WebSocket connection .* failed/.test(text))).toEqual([]);
    },
    { auto: true },
  ],
  signedIn: async ({ page, network }, use) => {
    await page.goto(await network.link());
    await expect(page.getByRole('heading', { name: /Overview/ })).toBeVisible();
    await use(page);
  },
});

export { expect };

/** Looks at a page in both colour schemes: a picture of each, and what axe finds; on a phone, and on a wall. Dark differs in its colours alone. */
export async function look(page: Page, name: string): Promise<void> {
  for (const scheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.evaluate(() => window.scrollTo(0, 0));
    await page.screenshot({ path: `test-results/pages/${name}-${scheme}.png`, fullPage: true });
    const axe = new AxeBuilder({ page });
    const { violations } = await (scheme === 'dark' ? axe.withRules(['color-contrast']) : axe).analyze();
    const grave = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
    expect(grave.map(({ id, nodes }) => [id, nodes.slice(0, 3).map(({ html, failureSummary }) => [html, failureSummary])]), `${name} in ${scheme}`).toEqual([]);
  }
  await page.emulateMedia({ colorScheme: 'light' });
  // On a phone nothing stands out at the side.
  const { width, height } = page.viewportSize()!;
  await page.setViewportSize({ width: 390, height: 800 });
  await expect.poll(() => page.evaluate(() => document.documentElement.scrollWidth), { message: `${name} on a phone` }).toBeLessThanOrEqual(390);
  await page.screenshot({ path: `test-results/pages/${name}-phone.png` });
  // On a wall it is seen from afar.
  await page.setViewportSize({ width: 2200, height: 1200 });
  await page.screenshot({ path: `test-results/pages/${name}-wide.png` });
  await page.setViewportSize({ width, height });
}
