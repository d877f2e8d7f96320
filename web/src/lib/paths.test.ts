import { expect, test } from 'vitest';
import type { ResultRecord } from './contract';
import { graphOf, instantsOf, latest, wayOf, type Way } from './paths';

/** A trace whose hops answered from these addresses; null is silence. */
function trace(vp: string, second: number, hops: (string | null)[], target = '192.0.2.9'): Way {
  const body = {
    address: target,
    stop: { reason: hops.at(-1) === target ? 'completed' : 'gap_limit' },
    hops: hops.map((from, at) => ({ ttl: at + 1, probes: [{ reply: from === null ? null : { from, rtt_ns: (at + 1) * 1e6 } }] })),
  };
  return wayOf({ vp_name: vp, input: target, started_at: `2026-01-01T00:00:0${second}.000000000Z`, body } as unknown as ResultRecord)!;
}

const named = (ways: Way[]) => graphOf(ways).links.map(({ from, to, vps }) => `${from.name} ${to.name} ${vps.join('+')}`);

test('ways that meet are merged, and stand by their distance from the target', () => {
  const graph = graphOf([trace('a', 1, ['10.0.0.1', '10.9.9.9', '192.0.2.9']), trace('b', 1, ['10.0.1.1', '10.0.1.2', '10.9.9.9', '192.0.2.9'])]);
  const column = (name: string) => graph.nodes.find((node) => node.name === name)?.column;
  expect(['b', '10.0.1.1', 'a', '10.0.1.2', '10.0.0.1', '10.9.9.9', '192.0.2.9'].map(column)).toEqual([0, 1, 1, 2, 2, 3, 4]);
  expect(graph.nodes.find(({ name }) => name === '10.9.9.9')?.vps).toEqual(['a', 'b']);
  expect(graph.columns).toBe(5);
  expect(graph.nodes.find(({ name }) => name === '192.0.2.9')?.kind).toBe('target');
});

test('silence is a link that says so, and the end of a way that goes on silent is no node', () => {
  const way = trace('a', 1, ['10.0.0.1', null, null, '10.0.0.4', null]);
  expect(graphOf([way]).links.map(({ silent }) => silent)).toEqual([0, 2]);
  expect([way.reached, named([way])]).toEqual([false, ['a 10.0.0.1 a', '10.0.0.1 10.0.0.4 a']]);
});

test('at an instant the newest way of each counts, and what changed is new', () => {
  const ways = [trace('a', 1, ['10.0.0.1', '192.0.2.9']), trace('b', 2, ['10.0.0.2', '192.0.2.9']), trace('a', 3, ['10.0.0.7', '192.0.2.9'])];
  const [first, second, third] = instantsOf(ways);
  expect(named(latest(ways, first!))).toEqual(['a 10.0.0.1 a', '10.0.0.1 192.0.2.9 a']);
  const graph = graphOf(latest(ways, third!), latest(ways, second!));
  expect(graph.nodes.filter(({ isNew }) => isNew).map(({ name }) => name)).toEqual(['10.0.0.7']);
  expect(graph.links.filter(({ isNew }) => isNew)).toHaveLength(2);
});

test('a multipath result keeps its branches', () => {
  const body = {
    address: '192.0.2.9', stop: { reason: 'completed' },
    nodes: [{ id: 0, ttl: 0, kind: 'source' }, { id: 1, ttl: 1, kind: 'router', address: '10.0.0.1' }, { id: 2, ttl: 1, kind: 'silent' }, { id: 3, ttl: 2, kind: 'destination', address: '192.0.2.9' }],
    links: [{ from: 0, to: 1 }, { from: 0, to: 2 }, { from: 1, to: 3, probes: [{ replies: [{ from: '192.0.2.9', rtt_ns: 5 }] }] }, { from: 2, to: 3 }],
  };
  const way = wayOf({ vp_name: 'a', input: 'x', started_at: '2026-01-01T00:00:00Z', body } as unknown as ResultRecord)!;
  expect(named([way])).toEqual(['a 10.0.0.1 a', 'a * a', '10.0.0.1 192.0.2.9 a', '* 192.0.2.9 a']);
  expect(graphOf([way]).nodes.find(({ kind }) => kind === 'target')?.rtt).toBe(5);
});

test('a loop and nonsense do no harm', () => {
  expect(named([trace('a', 1, ['10.0.0.1', '10.0.0.2', '10.0.0.1', '10.0.0.1'])])).toEqual(['a 10.0.0.1 a', '10.0.0.1 10.0.0.2 a', '10.0.0.2 10.0.0.1 a']);
  expect(wayOf({ input: 'x', body: { hops: 3 } } as unknown as ResultRecord)).toBeUndefined();
  expect(graphOf([])).toMatchObject({ nodes: [], links: [], columns: 1 });
});
