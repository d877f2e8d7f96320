// Reads Prometheus' text format as far as this page asks for it. Pure.

export type Sample = { labels: Record<string, string>; value: number };
export type Metrics = Map<string, Sample[]>;

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

export function parse(text: string, wanted: ReadonlySet<string>): Metrics {
  const metrics: Metrics = new Map();
  for (const line of text.split('\n')) {
    const found = LINE.exec(line);
    if (!found || !wanted.has(found[1]!)) continue;
    const labels: Record<string, string> = {};
    for (const [, name, value] of (found[2] ?? '').matchAll(LABEL)) {
      labels[name!] = value!.replace(/\\(.)/g, (_, char: string) => (char === 'n' ? '\n' : char));
    }
    const value = Number(found[3]);
    if (Number.isNaN(value)) continue;
    const samples = metrics.get(found[1]!);
    if (samples) samples.push({ labels, value });
    else metrics.set(found[1]!, [{ labels, value }]);
  }
  return metrics;
}

/** The sum over all labels; absent when the metric is not there. */
export function sum(metrics: Metrics, name: string): number | undefined {
  return metrics.get(name)?.reduce((total, { value }) => total + value, 0);
}

/** Sums by the value of one label. */
export function by(metrics: Metrics, name: string, label: string): Map<string, number> {
  const sums = new Map<string, number>();
  for (const { labels, value } of metrics.get(name) ?? []) {
    const key = labels[label] ?? '';
    sums.set(key, (sums.get(key) ?? 0) + value);
  }
  return sums;
}
