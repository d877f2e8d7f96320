// What plots of pings are made of: the samples of each vantage point and target. Pure.

import type { ResultRecord } from './contract';
import { input, instant } from './format';
import type { Sample } from './stats';

export type Series = {
  key: string;
  vp: string;
  target: string;
  samples: Sample[];
  record: ResultRecord;
};

type Reply = { status?: string; sent_at?: string | null; rtt_ns?: number | null };

/** Requests of which nobody knows whether they were answered are no samples: they are neither replies nor lost. */
const LOST = new Set(['timed_out', 'late', 'error']);

export function seriesOf(records: readonly ResultRecord[]): Series[] {
  const found = new Map<string, Series>();
  for (const record of records) {
    const vp = record.vp_name ?? record.vp ?? '';
    const target = input(record.input);
    const key = `${vp} ${target}`;
    const samples = samplesOf(record);
    const series = found.get(key);
    if (series) {
      series.samples.push(...samples);
      series.record = record;
    } else {
      found.set(key, { key, vp, target, samples, record });
    }
  }
  const order = new Intl.Collator('en', { numeric: true });
  return [...found.values()].sort((a, b) => order.compare(a.key, b.key));
}

function samplesOf(record: ResultRecord): Sample[] {
  const replies = (record.body as { replies?: Reply[] } | null | undefined)?.replies;
  if (!Array.isArray(replies)) return [];
  return replies.flatMap(({ status, sent_at, rtt_ns }): Sample[] => {
    const at = instant(sent_at);
    if (at === undefined) return [];
    if (status === 'replied' && typeof rtt_ns === 'number') return [{ at, rtt: rtt_ns }];
    return LOST.has(status ?? '') ? [{ at, rtt: undefined }] : [];
  });
}
