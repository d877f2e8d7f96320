// The figures of a run, each beside its bound; printed at the end with the machine that they are of.

import { cpus, totalmem } from 'node:os';
import { readFileSync } from 'node:fs';

type Figure = { what: string; figure: number; unit: string; bound: number };
const found: Figure[] = [];
const notes: string[] = [];

/** Notes a figure that may be as large as its bound. */
export function atMost(what: string, figure: number, unit: string, bound: number): void {
  found.push({ what, figure, unit, bound });
}

/** What is beyond its bound. */
export function failed(): string[] {
  return found.filter(({ figure, bound }) => !(figure <= bound)).map(({ what }) => what);
}

/** Notes something that has no bound. */
export function note(text: string): void {
  notes.push(text);
}

/** The value below which the share `q` of the values lies. */
export function quantile(values: readonly number[], q: number): number {
  if (values.length === 0) return Number.NaN;
  const rise = values.toSorted((a, b) => a - b);
  return rise[Math.min(rise.length - 1, Math.ceil(q * rise.length) - 1)]!;
}

function machine(): string {
  const quota = (() => {
    try {
      return readFileSync('/sys/fs/cgroup/cpu.max', 'utf8').trim();
    } catch {
      return 'max';
    }
  })();
  const model = cpus()[0]?.model ?? 'unknown processor';
  const share = quota.startsWith('max') ? '' : `, quota ${quota}`;
  return `${cpus().length} × ${model}${share}, ${Math.round(totalmem() / 2 ** 30)} GiB; Chromium headless, drawing in software`;
}

export function print(browser: string): void {
  const number = (value: number) => (value >= 100 ? value.toFixed(0) : value.toFixed(1));
  const rows = found.map(({ what, figure, unit, bound }) => [what, `${number(figure)} ${unit}`, `≤ ${number(bound)} ${unit}`, figure <= bound ? 'holds' : 'FAILS']);
  const widths = [0, 1, 2].map((at) => Math.max(...rows.map((row) => row[at]!.length), 0));
  const lines = rows.map((row) => row.map((cell, at) => (at === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[at] ?? 0))).join('   '));
  process.stdout.write(['', machine(), browser, ...lines, ...notes.map((text) => `note: ${text}`), ''].join('\n'));
}
