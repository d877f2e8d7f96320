import { expect, test } from 'vitest';
import type { ResultRecord, VpView } from './contract';
import { groups } from './dns';
import { outline, places, SHAPES } from './health';
import { by, parse, sum } from './metrics';
import { seriesOf } from './ping';
import { policyWords } from './policy';

test("Prometheus' text is read as far as it is wanted", () => {
  const metrics = parse('# HELP a x\na{o="ok",r="a\\"b\\n"} 3\na{o="lost"} 1.5e1\nb 7\nc NaN\n', new Set(['a', 'c']));
  expect(sum(metrics, 'a')).toBe(18);
  expect(by(metrics, 'a', 'o')).toEqual(new Map([['ok', 3], ['lost', 15]]));
  expect(metrics.get('a')![0]!.labels['r']).toBe('a"b\n');
  expect([sum(metrics, 'b'), sum(metrics, 'c')]).toEqual([undefined, undefined]);
});

test('each health has a shape of its own', () => {
  const shapes = Object.values(SHAPES);
  expect(new Set(shapes).size).toBe(shapes.length);
  for (const shape of shapes) expect(outline(shape, 5)).not.toContain('NaN');
});

test('a place is as well as its worst vantage point', () => {
  const vp = (id: string, health: string, latitude?: number) =>
    ({ health, vantage_point: { id, name: id, location: latitude === undefined ? {} : { latitude, longitude: 4.9 } } }) as VpView;
  const found = places([vp('a', 'healthy', 52.3), vp('b', 'lost', 52.31), vp('c', 'healthy', 10), vp('d', 'healthy')]);
  expect(found.map(({ vps, health }) => [vps.length, health])).toEqual([[1, 'healthy'], [2, 'lost']]);
});

test('what nobody knows is neither a reply nor lost', () => {
  const reply = (status: string, rtt_ns?: number) => ({ status, rtt_ns, sent_at: '2026-11-22T08:00:00Z' });
  const record = { vp_name: 'v', input: 't', body: { replies: [reply('replied', 5), reply('timed_out'), reply('overrun'), reply('not_sent')] } };
  expect(seriesOf([record as unknown as ResultRecord])[0]!.samples.map(({ rtt }) => rtt)).toEqual([5, undefined]);
  expect(seriesOf([{ input: null, body: null } as unknown as ResultRecord])[0]!.samples).toEqual([]);
});

test('answers group whatever their order', () => {
  const rr = (address: string, ttl: number) => ({ name: 'a.', type: 'A', ttl, data: { address } });
  const record = (...answer: object[]) => ({ body: { response: { rcode: 'NOERROR', answer } } }) as unknown as ResultRecord;
  const found = groups([record(rr('1', 5), rr('2', 5)), record(rr('2', 9), rr('1', 9)), record(), { body: null } as unknown as ResultRecord]);
  expect(found.map(({ records, rcode }) => [records.length, rcode])).toEqual([[2, 'NOERROR'], [1, 'NOERROR'], [1, undefined]]);
});

test('a policy is told in words', () => {
  const policy = { max_pps: 100, max_bps: 1e6, max_pps_per_target: 10, allow: ['10.0.0.0/8'], deny: [], deny_kinds: ['http'] };
  expect(policyWords(policy, String).length).toBe(5);
});
