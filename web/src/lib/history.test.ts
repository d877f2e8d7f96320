import { expect, test } from 'vitest';
import type { Rollup } from './contract';
import { endsOf, extent, namesOf, rowsOf, slicesOf, sumsOf } from './history';

const number = (sum: number, median = 1) => ({ count: 10, sum, min: 0, q1: 1, median, q3: 3, max: 9 });

function rollup(second: number, vp: string | undefined, numbers: Rollup['numbers'], outcomes: Rollup['outcomes'] = { ok: 10 }): Rollup {
  return {
    measurement: 'm', ...(vp ? { vp } : {}), start: `2026-01-01T00:00:${String(second).padStart(2, '0')}.000000000Z`, interval_ns: 10e9,
    outcomes, answered: 7, numbers,
  };
}

test('the slices of pings count probes, those of other kinds tasks', () => {
  const one = rollup(10, undefined, { sent: number(30), received: number(24), rtt_median_ns: number(0, 5), duration_ns: number(0, 6) });
  expect(slicesOf([one], namesOf('ping'))[0]).toEqual({ at: Date.parse('2026-01-01T00:00:15Z'), sent: 30, lost: 6, min: 0, q1: 1, median: 5, q3: 3, max: 9 });
  expect(slicesOf([one], namesOf('dns'))[0]).toMatchObject({ sent: 10, lost: 3, median: 6 });
});

test('a slice in which nothing was measured has no times', () => {
  expect(slicesOf([rollup(0, undefined, { sent: number(5) }, { ok: 5 })], namesOf('ping'))[0]).toEqual({ at: Date.parse('2026-01-01T00:00:05Z'), sent: 5, lost: 5 });
});

test('rows are of vantage points', () => {
  const both = [rollup(0, 'a', { duration_ns: number(1) }), rollup(0, 'b', { duration_ns: number(2) }), rollup(10, 'a', { duration_ns: number(3) })];
  expect(rowsOf(both, namesOf('dns')).map(({ vp, slices }) => [vp, slices.length])).toEqual([['a', 2], ['b', 1]]);
  expect(sumsOf(both.slice(0, 1), namesOf('dns'))).toMatchObject([{ vp: 'a', sent: 10, received: 7 }]);
  expect(endsOf(both)[2]).toEqual({ at: Date.parse('2026-01-01T00:00:15Z'), outcomes: { ok: 10 } });
});

test('the extent is from the first slice to the end of the last', () => {
  const { range, most } = extent([rollup(0, 'a', {}), rollup(40, 'a', {})]);
  expect([range.last - range.first, most]).toEqual([50_000, 5]);
});
