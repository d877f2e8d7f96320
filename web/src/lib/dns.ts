// Answers of DNS, grouped by what differs. Pure.

import type { ResultRecord } from './contract';

type Rr = { name: string; type: string; data?: unknown; rdata: string };
type Body = { response?: { rcode: string; answer: Rr[] } | null; server?: string; address?: string; transport?: string; rtt_ns?: number | null } | null | undefined;

export type Group = { rcode: string | undefined; lines: string[]; records: ResultRecord[] };

export function bodyOf(record: ResultRecord): NonNullable<Body> {
  return (record.body as Body) ?? {};
}

/** Those with the same answer stand together, whatever its order and its time to live; the largest group first. */
export function groups(records: readonly ResultRecord[]): Group[] {
  const found = new Map<string, Group>();
  for (const record of records) {
    const response = bodyOf(record).response;
    const lines = (response?.answer ?? []).map(({ name, type, data, rdata }) => `${name} ${type} ${words(data ?? rdata)}`).sort();
    const key = JSON.stringify([response?.rcode ?? null, lines]);
    const group = found.get(key);
    if (group) group.records.push(record);
    else found.set(key, { rcode: response?.rcode, lines, records: [record] });
  }
  return [...found.values()].sort((a, b) => b.records.length - a.records.length);
}

/** Record data as a line: its values without the names of its fields. */
function words(data: unknown): string {
  if (Array.isArray(data)) return data.map(words).join(' ');
  if (typeof data === 'object' && data !== null) return Object.values(data).map(words).join(' ');
  return String(data);
}
