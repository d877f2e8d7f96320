import { expect, test } from 'vitest';
import { Listed, orderOf } from './listed';

type Item = { id: string; name: string; load?: number };
const listed = () => new Listed<Item>(({ id }) => id, ({ name }) => name);
const item = (name: string, load?: number): Item => ({ id: `id-${name}`, name, ...(load === undefined ? {} : { load }) });
const names = (items: readonly Item[]) => items.map(({ name }) => name);

test('names stand as people count', () => {
  const list = ['lon10', 'Lon9', 'lon1', 'ams', 'lon010b', 'lon10a'];
  expect(list.toSorted((a, b) => (orderOf(a) < orderOf(b) ? -1 : 1))).toEqual(['ams', 'lon1', 'Lon9', 'lon10', 'lon10a', 'lon010b']);
});

test('what is read again keeps its order, whatever order it comes in', () => {
  const list = listed();
  expect(names(list.replace([item('b2'), item('b10'), item('a')]))).toEqual(['a', 'b2', 'b10']);
  const again = list.replace([item('b10', 7), item('b2'), item('a')]);
  expect([names(again), again.at(-1)?.load]).toEqual([['a', 'b2', 'b10'], 7]);
  expect(names(list.replace([item('b10'), item('b3')]))).toEqual(['b3', 'b10']);
  expect(list.get('id-a')).toBeUndefined();
  // Another name is another place.
  expect(names(list.replace([item('b10'), { id: 'id-b3', name: 'c' }]))).toEqual(['b10', 'c']);
});

test('a part of it changes in place; what is new finds its own', () => {
  const list = listed();
  const before = list.replace(Array.from({ length: 50 }, (_, at) => item(`vp${at}`)));
  const after = list.patch([item('vp7', 1)]);
  expect([after[7], before[7], list.get('id-vp7')]).toEqual([item('vp7', 1), item('vp7'), item('vp7', 1)]);
  expect(after.filter((one, at) => one !== before[at])).toHaveLength(1);
  expect(names(list.patch([item('vp7x'), item('vp8', 2)])).slice(7, 10)).toEqual(['vp7', 'vp7x', 'vp8']);
  expect(list.get('id-vp8')?.load).toBe(2);
});
