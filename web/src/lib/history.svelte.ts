// The sums of a measurement whose results are too many to be read, as the anchor has them. While it goes on they are read again, the
// less often the longer that takes.

import { api, problem } from './api';
import type { MeasurementId, Problem, Rollup } from './contract';
import { namesOf } from './history';

/** Answers are small: so many slices, and so many vantage points drawn apart. */
const SLICES = 120;
const QUANTILES = 50;
const EVERY_MS = 2000;
const TIMES = 20;

export class History {
  /** All vantage points in one, by slice of time. */
  merged = $state.raw<Rollup[]>([]);
  /** Each vantage point over all time. */
  byVp = $state.raw<Rollup[]>([]);
  /** Each vantage point by slice of time. */
  apart = $state.raw<Rollup[]>([]);
  loaded = $state(false);
  failed = $state.raw<(Partial<Problem> & { title: string }) | undefined>(undefined);

  private timer = 0;
  private closed = false;

  constructor(readonly id: MeasurementId, readonly kind: string, private readonly goesOn: () => boolean) {
    void this.read();
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
  }

  private async read(): Promise<void> {
    const last = !this.goesOn();
    const begun = performance.now();
    const { time, sent, received } = namesOf(this.kind);
    const numbers = [time, sent, received].filter(Boolean).join(',');
    try {
      // The first plot waits for nothing else.
      this.merged = (await api.rollups(this.id, { merge: '1', numbers })).items;
      this.loaded = true;
      const apart = api.rollups(this.id, { numbers, interval: `${this.interval()}ms` });
      const byVp = api.rollups(this.id, { numbers, interval: 'all', quantiles: String(QUANTILES) });
      [this.apart, this.byVp] = (await Promise.all([apart, byVp])).map(({ items }) => items) as [Rollup[], Rollup[]];
      this.failed = undefined;
    } catch (error) {
      this.failed = problem(error);
    }
    if (this.closed || last) return;
    const took = performance.now() - begun;
    this.timer = window.setTimeout(() => void this.read(), Math.max(EVERY_MS, took * TIMES));
  }

  /** So wide that a row has no more slices than can be told apart. */
  private interval(): number {
    const width = (this.merged[0]?.interval_ns ?? 1e9) / 1e6;
    return Math.ceil(width * Math.max(1, this.merged.length / SLICES));
  }
}
