// A site's policy in plain words. Pure.

import type { PolicySummary } from './contract';
import { texts } from '../texts';

function bits(perSecond: number): string {
  const units: [number, string][] = [[1e9, 'Gbit/s'], [1e6, 'Mbit/s'], [1e3, 'kbit/s']];
  const [size, unit] = units.find(([size]) => perSecond >= size) ?? [1, 'bit/s'];
  return `${Number((perSecond / size).toPrecision(4))} ${unit}`;
}

export function policyWords(policy: PolicySummary, number: (n: number) => string): string[] {
  const words = texts.vp;
  const list = (items: string[]) => items.join(', ');
  return [
    words.policyPackets(number(policy.max_pps)),
    words.policyBits(bits(policy.max_bps)),
    words.policyTarget(number(policy.max_pps_per_target)),
    ...(policy.allow.length > 0 ? [words.policyAllow(list(policy.allow))] : []),
    ...(policy.deny.length > 0 ? [words.policyDeny(list(policy.deny))] : []),
    ...(policy.deny_kinds.length > 0 ? [words.policyKinds(list(policy.deny_kinds))] : []),
    ...(policy.allow_packet_sockets ? [words.policyPacketSockets] : []),
  ];
}
