import { expect, test } from 'vitest';
import { ago, bytes, duration, input, instant, quantity, ratio, utc } from './format';

test('numbers have units, and what is absent is shown as absent', () => {
  expect([0, 950, 1234, 12_345_678, 2.5e9, 7.2e12, 8.64e15].map(duration)).toEqual(['0 ns', '950 ns', '1.23 µs', '12.3 ms', '2.50 s', '2 h', '100 d']);
  expect([duration(null), duration(undefined), bytes(null), ratio(undefined), quantity(undefined, '1')]).toEqual(Array(5).fill('–'));
  expect([bytes(999), bytes(1500), ratio(0.125), quantity(3, '1'), quantity(30, 'd')]).toEqual(['999 B', '1.50 kB', '12.5 %', '3', '30 d']);
});

test('nine digits of a second are read', () => {
  expect(instant('2026-11-22T08:00:00.123456789Z')).toBe(Date.UTC(2026, 10, 22, 8, 0, 0, 123));
  expect(instant('never')).toBeUndefined();
  expect(utc('2026-11-22T08:00:00.123456789Z')).toBe('2026-11-22 08:00:00.123 UTC');
  expect(ago('2026-11-22T08:00:00Z', Date.UTC(2026, 10, 22, 8, 0, 30))).toBe('30 s ago');
});

test('inputs of every shape are a line', () => {
  expect([null, 'a', ['a', 'b'], { vp: 'x' }].map(input)).toEqual(['–', 'a', 'a b', 'x']);
});
