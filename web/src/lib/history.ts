// What plots of a long history are made of: the anchor's sums by slice of time (`GET …/rollups`). Pure.

import type { Rollup, RollupNumber } from './contract';
import { instant } from './format';
import { grouped, type Range, type Slice } from './stats';

/** Which numbers of a summary say what a plot wants: how long it took, and how many were sent and received. */
export type Names = { time: string; sent?: string; received?: string };

const PING: Names = { time: 'rtt_median_ns', sent: 'sent', received: 'received' };
/** Every kind has this one. */
const ANY: Names = { time: 'duration_ns' };

export function namesOf(kind: string): Names {
  return kind === 'ping' ? PING : ANY;
}

/** The slices of a plot. Where a kind does not say what it sent and received, tasks are counted that were answered. */
export function slicesOf(rollups: readonly Rollup[], names: Names): Slice[] {
  return rollups.map((rollup) => {
    const { time, sent, received } = numbersOf(rollup, names);
    const slice: Slice = { at: middle(rollup), sent, lost: Math.max(0, sent - received) };
    if (!time || time.count === 0) return slice;
    const { min, q1, median, q3, max } = time;
    return { ...slice, min, q1, median, q3, max };
  });
}

/** A row of the table by vantage point: sums over all time, and the steps of its distribution. */
export type VpSum = { vp: string; sent: number; received: number; time: RollupNumber | undefined };

export function sumsOf(rollups: readonly Rollup[], names: Names): VpSum[] {
  return rollups.map((rollup) => ({ vp: rollup.vp ?? '', ...numbersOf(rollup, names) }));
}

/** The slices of each vantage point. */
export function rowsOf(rollups: readonly Rollup[], names: Names): { vp: string; slices: Slice[] }[] {
  const found = grouped(rollups, ({ vp }) => vp ?? '');
  return [...found.entries()].map(([vp, own]) => ({ vp, slices: slicesOf(own, names) }));
}

/** How the tasks of a slice ended. */
export type Ends = { at: number; outcomes: Record<string, number> };

export function endsOf(rollups: readonly Rollup[]): Ends[] {
  return rollups.map((rollup) => ({ at: middle(rollup), outcomes: rollup.outcomes }));
}

/** The time that slices cover, and how many of their width fit into it. */
export function extent(rollups: readonly Rollup[]): { range: Range; most: number } {
  let range = { first: Infinity, last: -Infinity };
  let width = 1;
  for (const rollup of rollups) {
    const start = instant(rollup.start) ?? 0;
    width = Math.max(width, rollup.interval_ns / 1e6);
    range = { first: Math.min(range.first, start), last: Math.max(range.last, start + rollup.interval_ns / 1e6) };
  }
  return { range, most: Math.max(1, Math.round((range.last - range.first) / width)) };
}

function middle({ start, interval_ns }: Rollup): number {
  return (instant(start) ?? 0) + interval_ns / 2e6;
}

function numbersOf(rollup: Rollup, names: Names): { time: RollupNumber | undefined; sent: number; received: number } {
  const tasks = Object.values(rollup.outcomes).reduce((sum, n) => sum + n, 0);
  return {
    time: rollup.numbers[names.time],
    sent: names.sent ? (rollup.numbers[names.sent]?.sum ?? 0) : tasks,
    received: names.received ? (rollup.numbers[names.received]?.sum ?? 0) : rollup.answered,
  };
}
