// Which view a kind's results have. A kind that is not listed has the generic one: the page serves kinds that it was not built
// with.

import type { Component } from 'svelte';
import type { KindInfo, ResultRecord } from '../lib/contract';
import Dns from './Dns.svelte';
import Generic from './Generic.svelte';
import Http from './Http.svelte';
import Paths from './Paths.svelte';
import Ping from './Ping.svelte';

export type KindProps = { records: ResultRecord[]; info: KindInfo | undefined };

const VIEWS: Record<string, Component<KindProps>> = { ping: Ping, trace: Paths, multipath: Paths, dns: Dns, http: Http };

export function viewOf(kind: string): Component<KindProps> {
  return Object.hasOwn(VIEWS, kind) ? VIEWS[kind]! : Generic;
}
