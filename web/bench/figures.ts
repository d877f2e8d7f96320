// The figures of a run, each beside its bound and with the machine that it is of; printed at the end as a table.

import { cpus, loadavg, totalmem } from 'node:os';
import { readFileSync } from 'node:fs';

type Figure = { what: string; figure: number; unit: string; bound: number; load: number };
/** Figures by the line of the table that they belong to. */
const found = new Map<string, Figure[]>();
const notes: string[] = [];

/** Notes a figure that may be as large as its bound. */
export function atMost(line: string, what: string, figure: number, unit: string, bound: number): void {
  found.set(line, [...(found.get(line) ?? []), { what, figure, unit, bound, load: loadavg()[0] ?? 0 }]);
}

/** What is beyond its bound. */
export function failed(): string[] {
  return [...found].flatMap(([line, figures]) => figures.filter((one) => !holds(one)).map(({ what }) => `${line}: ${what}`));
}

/** Notes something that has no bound. */
export function note(text: string): void {
  notes.push(text);
}

/** Says at once what is going on: what takes minutes is no riddle. */
export function progress(text: string): void {
  process.stderr.write(`bench-web: ${text}\n`);
}

/** The value below which the share `q` of the values lies. */
export function quantile(values: readonly number[], q: number): number {
  if (values.length === 0) return Number.NaN;
  const rise = values.toSorted((a, b) => a - b);
  return rise[Math.min(rise.length - 1, Math.ceil(q * rise.length) - 1)]!;
}

// What was not measured does not hold.
const holds = ({ figure, bound }: Figure) => figure <= bound;

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
  return `${cpus().length} × ${model}${share}, ${Math.round(totalmem() / 2 ** 30)} GiB, drawn in software`;
}

export function print(browser: string): void {
  const number = (value: number) => (value >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toFixed(1));
  const hardware = machine();
  const rows = [...found].flatMap(([line, figures]) => figures.map((one, at) => [
    at === 0 ? line : '', one.what, `≤ ${number(one.bound)} ${one.unit}`, `${number(one.figure)} ${one.unit}`, holds(one) ? 'holds' : 'FAILS',
    `${hardware}; load ${one.load.toFixed(1)}`,
  ]));
  const head = ['what', 'figure', 'at least', 'measured', '', 'machine'];
  const widths = head.map((name, at) => Math.max(name.length, ...rows.map((row) => row[at]!.length)));
  const text = (cells: readonly string[]) => `| ${cells.map((cell, at) => cell.padEnd(widths[at]!)).join(' | ')} |`;
  const rule = `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`;
  process.stdout.write(['', browser, text(head), rule, ...rows.map(text), ...notes.map((one) => `note: ${one}`), ''].join('\n'));
}
