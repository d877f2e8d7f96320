// Sums for plots: quantiles, empirical distributions, bands over time. Pure.

/** The quantile `q` (0 to 1) of sorted numbers, by linear interpolation. */
export function quantile(sorted: readonly number[], q: number): number | undefined {
  if (sorted.length === 0) return undefined;
  const at = (sorted.length - 1) * q;
  const low = Math.floor(at);
  const below = sorted[low]!;
  const above = sorted[Math.min(low + 1, sorted.length - 1)]!;
  return below + (above - below) * (at - low);
}

export function sorted(values: readonly number[]): number[] {
  return [...values].sort((a, b) => a - b);
}

/** One probe: when it left (ms since 1970) and its round trip in nanoseconds; absent when nothing came back. */
export type Sample = { at: number; rtt: number | undefined };

/** What a slice of time saw. */
export type Slice = {
  at: number;
  sent: number;
  lost: number;
  min?: number;
  q1?: number;
  median?: number;
  q3?: number;
  max?: number;
};

/** The first and the last instant of samples. */
export type Range = { first: number; last: number };

export function rangeOf(samples: readonly Sample[]): Range {
  let range = { first: Infinity, last: -Infinity };
  for (const { at } of samples) range = { first: Math.min(range.first, at), last: Math.max(range.last, at) };
  return range;
}

/** How many slices a plot has: few enough that each series of so many samples has some in each. */
export function sliceCount(samples: number, most = 60): number {
  return Math.max(1, Math.min(most, samples <= 12 ? samples : Math.ceil(samples / 2)));
}

/** Slices of equal length over the range, at most `most` of them; slices without a sample are left out. */
export function slices(samples: readonly Sample[], most: number, range: Range = rangeOf(samples)): Slice[] {
  if (samples.length === 0) return [];
  const { first, last } = range;
  const width = Math.max((last - first) / most, 1);
  const groups = new Map<number, Sample[]>();
  for (const sample of samples) {
    const slot = Math.min(Math.floor((sample.at - first) / width), most - 1);
    const group = groups.get(slot);
    if (group) group.push(sample);
    else groups.set(slot, [sample]);
  }
  return [...groups.entries()]
    .sort(([a], [b]) => a - b)
    .map(([slot, group]) => {
      const rtts = sorted(group.flatMap(({ rtt }) => (rtt === undefined ? [] : [rtt])));
      const slice: Slice = { at: first + (slot + 0.5) * width, sent: group.length, lost: group.length - rtts.length };
      if (rtts.length === 0) return slice;
      return {
        ...slice,
        min: rtts[0]!,
        q1: quantile(rtts, 0.25)!,
        median: quantile(rtts, 0.5)!,
        q3: quantile(rtts, 0.75)!,
        max: rtts.at(-1)!,
      };
    });
}

/** The steps of an empirical distribution: at most `most` points of value and share at or below it. */
export function distribution(values: readonly number[], most: number): [number, number][] {
  const rise = sorted(values);
  const n = rise.length;
  const step = Math.max(1, Math.ceil(n / most));
  const points: [number, number][] = [];
  for (let at = 0; at < n; at += step) points.push([rise[at]!, (at + 1) / n]);
  if (n > 0 && points.at(-1)![1] !== 1) points.push([rise[n - 1]!, 1]);
  return points;
}

/** Round numbers for an axis from 0 to `most`. */
export function ticks(most: number, about: number): number[] {
  if (!(most > 0)) return [0];
  const raw = most / about;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= raw)!;
  const found: number[] = [];
  for (let at = 0; at <= most + step / 1e6; at += step) found.push(at);
  return found;
}

/** What has the same key stands together, in the order of coming. (`Map.groupBy` is younger than the Node that builds this.) */
export function grouped<K, T>(items: Iterable<T>, keyOf: (item: T) => K): Map<K, T[]> {
  const found = new Map<K, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = found.get(key);
    if (group) group.push(item);
    else found.set(key, [item]);
  }
  return found;
}
