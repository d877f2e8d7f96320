import { expect, test } from 'vitest';
import { distribution, quantile, sliceCount, slices, ticks } from './stats';

test('quantiles lie between their neighbours', () => {
  expect(quantile([], 0.5)).toBeUndefined();
  expect(quantile([7], 0.9)).toBe(7);
  expect(quantile([1, 2, 3, 4], 0.5)).toBe(2.5);
  expect(quantile([1, 2, 3, 4], 1)).toBe(4);
});

test('slices account for each probe once', () => {
  const samples = Array.from({ length: 1000 }, (_, n) => ({ at: 5000 + n * 7, rtt: n % 10 === 0 ? undefined : n * 1e3 }));
  const found = slices(samples, 60);
  expect(found.length).toBeLessThanOrEqual(60);
  expect(found.reduce((sum, { sent }) => sum + sent, 0)).toBe(1000);
  expect(found.reduce((sum, { lost }) => sum + lost, 0)).toBe(100);
  for (const { min, q1, median, q3, max } of found) {
    expect([min, q1, median, q3, max]).toEqual([min, q1, median, q3, max].toSorted((a, b) => a! - b!));
  }
});

test('a slice in which all is lost has no round trip', () => {
  expect(slices([{ at: 1, rtt: undefined }], 10)).toEqual([{ at: 1.5, sent: 1, lost: 1 }]);
  expect(slices([], 10)).toEqual([]);
});

test('vantage points share the slices of one range', () => {
  const range = { first: 0, last: 100 };
  expect(slices([{ at: 95, rtt: 1 }], 10, range)[0]!.at).toBe(95);
});

test('slices are as many as the samples fill', () => {
  expect([0, 1, 5, 20, 4000].map((n) => sliceCount(n))).toEqual([1, 1, 5, 10, 60]);
});

test('a distribution ends at one', () => {
  const points = distribution(Array.from({ length: 1001 }, (_, n) => n), 50);
  expect(points.length).toBeLessThanOrEqual(52);
  expect(points.at(-1)).toEqual([1000, 1]);
  expect(distribution([], 50)).toEqual([]);
});

test('ticks are round', () => {
  expect(ticks(97e6, 5)).toEqual([0, 20e6, 40e6, 60e6, 80e6]);
  expect(ticks(0, 5)).toEqual([0]);
});
