// A lab of many vantage points: the example's Internet, with others where its own were.

import { readFileSync } from 'node:fs';

const WORLD = new URL('../../examples/lab/world.toml', import.meta.url).pathname;

/** The text of a lab's file with `n` vantage points, spread over the example's cities. */
export function labOf(n: number): string {
  const parts = readFileSync(WORLD, 'utf8').split('\n\n');
  const edges = [...new Set(parts.flatMap((part) => (part.startsWith('[[vp]]') ? (/^at = "(.+)"$/m.exec(part)?.[1] ?? []) : [])))];
  const tags = ['dsl', 'fibre', 'office'];
  const vps = Array.from({ length: n }, (_, at) => {
    const edge = edges[at % edges.length]!;
    return [
      '[[vp]]', `name = "${edge.slice(0, 3)}${at}"`, `addr = ["10.${at >> 16}.${(at >> 8) & 255}.${at & 255}"]`, `at = "${edge}"`,
      `asn = ${64512 + (at % 1000)}`, `tags = ["${tags[at % tags.length]}"]`, 'delay_ms = 1',
    ].join('\n');
  });
  return [...parts.filter((part) => !part.startsWith('[[vp]]')), ...vps, ''].join('\n\n');
}
