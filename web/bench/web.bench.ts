// What the dashboard promises, measured in Chromium: `scripts/bench-web.sh` runs it. The first load, live results, a thousand vantage
// points and the long history are of whole networks with a simulated Internet; ten thousand vantage points and the stream of two
// thousand results a second come from a stub, the stream's results being recorded from the first of these networks.

import { chromium, expect, test, type Browser, type BrowserContext, type CDPSession, type Page } from '@playwright/test';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { start, type Network } from '../tests/network';
import type { KindView, Measurement, ResultRecord, Rollup } from '../src/lib/contract';
import { atMost, failed, note, print, progress, quantile } from './figures';
import { labOf } from './lab';
import { serve } from './stub';
import { vantagePoints } from './world';

type Ended = Measurement & { results?: ResultRecord[] };
const RUNS = 5;
const quick = process.env['MMN_BENCH_QUICK'] !== undefined;
/** The lines of the table. */
const LINES = {
  load: 'first load over loopback, cold cache',
  drawn: 'result measured → drawn',
  stream: `a recorded stream at 2,000 results/s for ${quick ? 15 : 60} s`,
  many: '10,000 vantage points',
  some: `${quick ? 200 : '1,000'} vantage points of a lab`,
  history: `a history of ${quick ? '100,000' : '1,000,000'} results`,
};

let network: Network;
let end: () => Promise<void>;
let browser: Browser;

test.describe.configure({ mode: 'default' });
test.beforeAll(async () => {
  ({ network, end } = await start());
  browser = await chromium.launch({ executablePath: process.env['MMN_CHROMIUM'] ?? '/usr/bin/chromium', args: ['--disable-gpu', '--enable-precise-memory-info'] });
});
test.afterAll(async () => {
  print(`Chromium ${browser?.version() ?? 'unknown'}`);
  await browser?.close();
  await end?.();
});

/** Notes in `marks` when what `selector` says is first drawn: milliseconds since the navigation began. */
function whenDrawn({ name, selector }: { name: string; selector: string }): void {
  const marks = ((window as unknown as { marks: Record<string, number> }).marks ??= {});
  const look = () => {
    if (marks[name] !== undefined || !document.querySelector(selector)) return;
    marks[name] = -1;
    // After the frame that shows it, when the page is free again.
    requestAnimationFrame(() => setTimeout(() => (marks[name] = performance.now())));
  };
  new MutationObserver(look).observe(document, { subtree: true, childList: true });
}

/** What the page's main thread has done until now, in milliseconds of the processor's time by kind. */
async function workOf(cdp: CDPSession): Promise<Record<'all' | 'scripts' | 'style' | 'layout', number>> {
  await cdp.send('Performance.enable', { timeDomain: 'threadTicks' });
  const { metrics } = await cdp.send('Performance.getMetrics');
  const ms = (name: string) => (metrics.find((one) => one.name === name)?.value ?? Number.NaN) * 1000;
  return { all: ms('TaskDuration'), scripts: ms('ScriptDuration'), style: ms('RecalcStyleDuration'), layout: ms('LayoutDuration') };
}

/** What it did meanwhile, for each of so many: unlike what the clock says, no more where others use the machine. */
function worked(before: Awaited<ReturnType<typeof workOf>>, after: typeof before, of: number): string {
  const per = (kind: keyof typeof before) => ((after[kind] - before[kind]) / of).toFixed(1);
  return `main thread ${per('all')} ms, of that scripts ${per('scripts')}, style ${per('style')}, layout ${per('layout')}`;
}

async function marked(page: Page, name: string): Promise<number> {
  const read = () => page.evaluate((name) => (window as unknown as { marks: Record<string, number> }).marks[name] ?? -1, name);
  await expect.poll(read, { timeout: 30_000, intervals: [20] }).toBeGreaterThan(0);
  return read();
}

async function signedIn(network: Network): Promise<BrowserContext> {
  const context = await browser.newContext({ viewport: { width: 1360, height: 900 } });
  const page = await context.newPage();
  await page.goto(await network.link());
  await page.getByRole('heading', { name: /Overview/ }).waitFor();
  await page.close();
  return context;
}

test('the first load', async () => {
  const [times, sizes]: [number[], number[]] = [[], []];
  for (let run = 0; run < RUNS; run += 1) {
    const context = await browser.newContext({ viewport: { width: 1360, height: 900 } });
    const page = await context.newPage();
    const cdp = await context.newCDPSession(page);
    let bytes = 0;
    await cdp.send('Network.enable');
    cdp.on('Network.loadingFinished', ({ encodedDataLength }) => void (bytes += encodedDataLength));
    // The page is there, with what it has read of the network.
    await page.addInitScript(whenDrawn, { name: 'interactive', selector: 'main svg a' });
    await page.goto(await network.link());
    times.push(await marked(page, 'interactive'));
    sizes.push(bytes / 1000);
    await context.close();
  }
  note(`first load: median of ${RUNS}, each with an empty cache; the slowest took ${Math.max(...times).toFixed(0)} ms. All that was asked for is counted, the API's answers too`);
  atMost(LINES.load, 'interactive', quantile(times, 0.5), 'ms', 1000);
  atMost(LINES.load, 'transferred', Math.max(...sizes), 'kB', 250);
});

test('from measured to drawn', async () => {
  const many = quick ? 150 : 500;
  const context = await signedIn(network);
  const page = await context.newPage();
  await page.addInitScript(() => {
    const drawn: { n: number; at: number }[] = ((window as unknown as { drawn: unknown[] }).drawn = []) as never;
    new MutationObserver(() => {
      const n = Number(document.querySelector('[data-testid=seen]')?.textContent?.replace(/\D/g, '') ?? 0);
      if (n <= (drawn.at(-1)?.n ?? 0)) return;
      const entry = { n, at: Infinity };
      drawn.push(entry);
      requestAnimationFrame(() => setTimeout(() => (entry.at = performance.timeOrigin + performance.now())));
    }).observe(document, { subtree: true, childList: true, characterData: true });
  });
  const { id } = await network.api<Ended>('/api/v1/measurements', { kind: 'ping', open: true, from: 'ams1', params: { count: 1 } });
  await page.goto(`${network.url}/measurements/${id}`);
  await expect(page.getByTestId('state')).toHaveText('open');
  for (let at = 0; at < many; at += 1) {
    await network.api(`/api/v1/measurements/${id}/inputs`, { inputs: ['target000'] });
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  await network.api(`/api/v1/measurements/${id}/close`, {});
  await expect(page.getByTestId('seen')).toHaveText(String(many));
  await page.waitForTimeout(100);
  const drawn = await page.evaluate(() => (window as unknown as { drawn: { n: number; at: number }[] }).drawn);
  const { items } = await network.api<{ items: ResultRecord[] }>(`/api/v1/measurements/${id}/results?limit=1000`);
  // The page is sent the results in the order of their cursors.
  const delays = items.map((record, at) => drawn.find(({ n }) => n > at)!.at - measuredAt(record));
  note(`measured to drawn: ${many} pings, one after the other; median ${quantile(delays, 0.5).toFixed(0)} ms`);
  expect(Math.min(...delays)).toBeGreaterThan(0);
  atMost(LINES.drawn, 'p95', quantile(delays, 0.95), 'ms', 200);
  await context.close();
});

function measuredAt({ started_at, duration_ns }: ResultRecord): number {
  return Date.parse(started_at!.replace(/(\.\d{3})\d+/, '$1')) + duration_ns! / 1e6;
}

test('two thousand results a second', async () => {
  const [rate, seconds] = [2000, quick ? 15 : 60];
  test.setTimeout((seconds + 90) * 1000);
  const measurement = await network.api<Ended>('/api/v1/measurements?wait=60s', {
    kind: 'ping', from: 'all', inputs: Array.from({ length: 100 }, (_, at) => `198.18.16.${at + 1}`), params: { count: 3, interval: '20ms', timeout: '300ms' },
  });
  const { items: recorded } = await network.api<{ items: ResultRecord[] }>(`/api/v1/measurements/${measurement.id}/results?limit=10000`);
  const { items: sums } = await network.api<{ items: Rollup[] }>(`/api/v1/measurements/${measurement.id}/rollups?numbers=rtt_median_ns,sent,received&interval=all&quantiles=50`);
  const { items: kinds } = await network.api<{ items: KindView[] }>('/api/v1/kinds');
  const stub = await serve({ vps: [], kinds, replay: { measurement, recorded, sums, rate, seconds } });
  const context = await browser.newContext({ viewport: { width: 1360, height: 900 } });
  const page = await context.newPage();
  await page.addInitScript(() => {
    const frames: number[] = ((window as unknown as { frames: number[] }).frames = []);
    let last = performance.now();
    const next = (now: number) => {
      frames.push(now - last);
      last = now;
      requestAnimationFrame(next);
    };
    requestAnimationFrame(next);
  });
  const cdp = await context.newCDPSession(page);
  const heap = async () => {
    await cdp.send('HeapProfiler.collectGarbage');
    return (await cdp.send('Runtime.getHeapUsage')).usedSize / 1e6;
  };
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  await page.goto(`${stub.url}/measurements/${measurement.id}`);
  await expect(page.getByTestId('seen')).toBeVisible();
  const begun = performance.now();
  const heaps: number[] = [];
  // Early, when as much is kept as ever will be, and at the end.
  await page.waitForTimeout(seconds * 250);
  heaps.push(await heap());
  const before = await workOf(cdp);
  await page.evaluate(() => void ((window as unknown as { frames: number[] }).frames.length = 0));
  // Nobody looks meanwhile: looking is work for the page.
  await page.waitForTimeout(seconds * 750);
  await expect(page.getByText('complete', { exact: true })).toBeVisible({ timeout: (seconds + 60) * 1000 });
  const took = (performance.now() - begun) / 1000;
  const frames = await page.evaluate(() => (window as unknown as { frames: number[] }).frames);
  const work = worked(before, await workOf(cdp), frames.reduce((sum, ms) => sum + ms, 0) / 1000);
  heaps.push(await heap());
  await page.waitForTimeout(500);
  expect(errors).toEqual([]);
  const counted = Number((await page.getByTestId('seen').textContent())!.replace(/.* of /, '').replace(/\D/g, ''));
  note(`${rate} results a second: ${frames.length} frames, median ${quantile(frames, 0.5).toFixed(1)} ms, p99 ${quantile(frames, 0.99).toFixed(0)} ms, longest ${Math.max(...frames).toFixed(0)} ms; ${took.toFixed(0)} s; heap ${heaps.map((mb) => mb.toFixed(1)).join(' and ')} MB; in a second ${work}`);
  atMost(LINES.stream, 'frame, p95', quantile(frames, 0.95), 'ms', 50);
  atMost(LINES.stream, 'growth of memory', Math.max(0, heaps[1]! - heaps[0]!), 'MB', 5);
  atMost(LINES.stream, 'missing on the page’s count', rate * seconds - counted, 'results', 0);
  await context.close();
  await stub.end();
});

/** Notes when a text was typed, and when the frame was there that shows what it chooses. */
function whenFiltered(): void {
  const typed: Record<string, number> = {};
  const keys: Record<string, number> = {};
  Object.assign(window, { typed, keys });
  let pressed = 0;
  addEventListener('keydown', (event) => (pressed = event.timeStamp), true);
  addEventListener('input', (event) => void (typed[(event.target as HTMLInputElement).value] = pressed), true);
  new MutationObserver(() => {
    const text = document.querySelector<HTMLElement>('[data-select]')?.dataset['select'];
    if (text === undefined || typed[text] === undefined || keys[text] !== undefined) return;
    keys[text] = -1;
    requestAnimationFrame(() => setTimeout(() => (keys[text] = performance.now())));
  }).observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
}

/** Types words into the selection of a page that shows `n` vantage points, and notes what a key takes. */
async function typeInto(page: Page, n: number, line: string, words: readonly string[], answers: string): Promise<void> {
  await expect(page.getByText(`${n} vantage points`, { exact: true })).toBeVisible();
  const cdp = await page.context().newCDPSession(page);
  const before = await workOf(cdp);
  const times: number[] = [];
  for (const text of words) {
    await page.getByLabel('Selection').fill('');
    await page.getByLabel('Selection').pressSequentially(text, { delay: 120 });
    await page.waitForTimeout(200);
    times.push(...(await page.evaluate((text) => {
      const { typed, keys } = window as unknown as Record<'typed' | 'keys', Record<string, number>>;
      const texts = Array.from(text, (_, at) => text.slice(0, at + 1));
      // One whose answer came too late for the next key was seen with that one's.
      return texts.map((one, at) => (texts.slice(at).map((later) => keys[later]).find((seen) => seen! > 0) ?? Infinity) - typed[one]!);
    }, text)));
    await expect(page.getByText(new RegExp(`^\\d+ of ${n} vantage points$`))).toBeVisible();
  }
  const work = worked(before, await workOf(cdp), times.length);
  note(`${line}: ${times.length} keystrokes, median ${quantile(times, 0.5).toFixed(0)} ms, slowest ${Math.max(...times).toFixed(0)} ms; ${answers}; for each ${work}`);
  atMost(line, 'keystroke to filtered table, p95', quantile(times, 0.95), 'ms', 50);
}

test('ten thousand vantage points', async () => {
  const { items: kinds } = await network.api<{ items: KindView[] }>('/api/v1/kinds');
  const stub = await serve({ vps: vantagePoints(10_000), kinds });
  const context = await browser.newContext({ viewport: { width: 1360, height: 900 } });
  const page = await context.newPage();
  await page.addInitScript(whenFiltered);
  await page.goto(`${stub.url}/vps`);
  const words = ['fibre', 'eyeball', 'amsterdam', 'NL', 'berlin', 'lon12', 'sydney', 'paris'];
  await typeInto(page, 10_000, LINES.many, words, 'the stub answers for the anchor, and tells four events a second');
  await context.close();
  await stub.end();
});

test('a lab of many vantage points', async () => {
  const many = quick ? 200 : 1000;
  test.setTimeout(180_000);
  const dir = mkdtempSync(join(tmpdir(), 'mmn-web-lab-'));
  const file = join(dir, 'lab.toml');
  writeFileSync(file, labOf(many));
  progress(`a lab of ${many} vantage points starts`);
  const { network, end } = await start(['--lab', file, '--lab-driver', 'in-process']);
  try {
    const context = await signedIn(network);
    const page = await context.newPage();
    await page.addInitScript(whenFiltered);
    await page.goto(`${network.url}/vps`);
    await typeInto(page, many, LINES.some, ['fibre', 'europe', 'NL+dsl', 'as64600', 'any(africa)'].slice(0, quick ? 3 : 5), 'a real anchor answers');
    await context.close();
  } finally {
    await end();
    rmSync(dir, { recursive: true, force: true });
  }
});

test('a history of a million results', async () => {
  test.setTimeout(600_000);
  const inputs = Math.ceil((quick ? 100_000 : 1_000_000) / 24);
  const request = { kind: 'ping', from: 'all', inputs: Array.from({ length: inputs }, (_, at) => `198.18.${16 + (Math.floor(at / 250) % 200)}.${(at % 250) + 1}`), params: { count: 1, timeout: '300ms' }, deadline: '30m' };
  const { id } = await network.api<Ended>('/api/v1/measurements', request);
  const state = async () => {
    const { state, ledger } = await network.api<Ended>(`/api/v1/measurements/${id}`);
    progress(`history: ${ledger.accepted - ledger.pending} of ${ledger.accepted} results`);
    return state;
  };
  await expect.poll(state, { timeout: 500_000, intervals: [5000] }).toBe('done');
  const { ledger } = await network.api<Ended>(`/api/v1/measurements/${id}`);
  // What the plots are made of, as the page asks for it.
  const answers: number[] = [];
  for (let run = 0; run < 2 * RUNS; run += 1) {
    const begun = performance.now();
    await network.api(`/api/v1/measurements/${id}/rollups?numbers=rtt_median_ns,sent,received${run % 2 === 0 ? '&merge=1' : '&interval=all&quantiles=50'}`);
    answers.push(performance.now() - begun);
  }
  const context = await signedIn(network);
  const times: number[] = [];
  for (let run = 0; run < RUNS; run += 1) {
    const page = await context.newPage();
    await page.addInitScript(whenDrawn, { name: 'plot', selector: 'figure canvas' });
    await page.goto(`${network.url}/measurements/${id}`);
    times.push(await marked(page, 'plot'));
    await expect(page.getByTestId('seen')).toContainText(new Intl.NumberFormat('en').format(ledger.accepted));
    await page.close();
  }
  note(`history: ${ledger.accepted} results of a simulated Internet; median of ${RUNS} loads of the page, the slowest took ${Math.max(...times).toFixed(0)} ms`);
  atMost(LINES.history, 'the anchor’s sums, the slowest answer', Math.max(...answers), 'ms', 100);
  atMost(LINES.history, 'first plot', quantile(times, 0.5), 'ms', 500);
  await context.close();
});

// Last: a test that fails takes the figures of those before it with it.
test('each figure is within its bound', () => {
  expect(failed()).toEqual([]);
});
