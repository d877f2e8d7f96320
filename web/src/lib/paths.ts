// The ways of many traces merged into one graph, as they were at an instant. Nodes are addresses; their column is their distance from
// the target, so that ways which meet on their last hops meet in the picture. Silent hops make a dashed link. Pure.

import type { ResultRecord } from './contract';
import { input, instant } from './format';
import { grouped, quantile, sorted } from './stats';

type Reply = { from: string; rtt_ns?: number | null };
type Probe = { reply?: Reply | null; replies?: Reply[] };
type Hop = { ttl: number; probes: Probe[] };
type Body = {
  address?: string;
  stop?: { reason: string };
  hops?: Hop[];
  nodes?: { id: number; ttl: number; address?: string | null; kind: string }[];
  links?: { from: number; to: number; probes?: Probe[] }[];
} | null | undefined;

/** What answered at one distance, and how fast. */
type Step = { key: string; name: string; rtts: number[] };
type Edge = { from: string; to: string; silent: number };
/** The way or ways of one result. */
export type Way = { vp: string; target: string; at: number; reached: boolean; steps: Map<string, { step: Step; back: number }>; edges: Edge[] };

export type Node = { key: string; name: string; kind: 'vp' | 'router' | 'target'; rtt: number | undefined; vps: string[]; column: number; row: number; isNew: boolean };
export type Link = { from: Node; to: Node; silent: number; vps: string[]; isNew: boolean };
export type Graph = { nodes: Node[]; links: Link[]; columns: number; rows: number; left: number };

/** So many nodes can be told apart; the others are counted. */
const MOST_NODES = 400;

export function wayOf(record: ResultRecord): Way | undefined {
  const body = record.body as Body;
  const vp = record.vp_name ?? record.vp ?? '';
  const target = input(record.input);
  const at = instant(record.started_at);
  if (at === undefined || !body) return undefined;
  const way: Way = { vp, target, at, reached: body.stop?.reason === 'completed', steps: new Map(), edges: [] };
  if (Array.isArray(body.hops)) ofTrace(way, body.hops, body.address);
  else if (Array.isArray(body.nodes) && Array.isArray(body.links)) ofMultipath(way, body.nodes, body.links, body.address);
  else return undefined;
  return way;
}

const source = (vp: string) => `vp ${vp}`;

function ofTrace(way: Way, hops: readonly Hop[], address: string | undefined): void {
  const last = Math.max(0, ...hops.map(({ ttl }) => ttl));
  let before = [put(way, source(way.vp), way.vp, last, [])];
  let silent = 0;
  for (const { ttl, probes } of hops) {
    const replies = grouped(probes.flatMap(({ reply }) => (reply ? [reply] : [])), ({ from }) => from);
    if (replies.size === 0) {
      silent += 1;
      continue;
    }
    const here = [...replies].map(([from, some]) => put(way, keyOf(from, address), from, last - ttl, some.flatMap(({ rtt_ns }) => rtt_ns ?? [])));
    for (const from of before) for (const to of here) link(way, from, to, silent);
    before = here;
    silent = 0;
  }
}

function ofMultipath(way: Way, nodes: NonNullable<NonNullable<Body>['nodes']>, links: NonNullable<NonNullable<Body>['links']>, address: string | undefined): void {
  const last = Math.max(0, ...nodes.map(({ ttl }) => ttl));
  const rtts = grouped(links.flatMap(({ to, probes }) => (probes ?? []).flatMap(({ replies }) => (replies ?? []).map((reply) => ({ to, reply })))), ({ to }) => to);
  const keys = new Map(nodes.map(({ id, ttl, address: own, kind }) => {
    const measured = (rtts.get(id) ?? []).flatMap(({ reply }) => reply.rtt_ns ?? []);
    if (kind === 'source') return [id, put(way, source(way.vp), way.vp, last - ttl, [])];
    // A silent node is a node of its own, as it is in the result: it may have several ways in and out.
    return [id, own ? put(way, keyOf(own, address), own, last - ttl, measured) : put(way, `* ${way.vp} ${way.target} ${id}`, '*', last - ttl, [])];
  }));
  for (const { from, to } of links) link(way, keys.get(from), keys.get(to), 0);
}

/** The target is one node, whatever its address is called elsewhere. */
function keyOf(address: string, target: string | undefined): string {
  return address === target ? `target ${address}` : address;
}

function put(way: Way, key: string, name: string, back: number, rtts: number[]): string {
  const present = way.steps.get(key);
  if (present) present.step.rtts.push(...rtts);
  else way.steps.set(key, { step: { key, name, rtts: [...rtts] }, back });
  return key;
}

function link(way: Way, from: string | undefined, to: string | undefined, silent: number): void {
  // A router that answers at two distances in a row is one node.
  if (from === undefined || to === undefined || from === to) return;
  if (!way.edges.some((edge) => edge.from === from && edge.to === to)) way.edges.push({ from, to, silent });
}

/** The instants at which the picture changes: when results began. */
export function instantsOf(ways: readonly Way[]): number[] {
  return [...new Set(ways.map(({ at }) => at))].sort((a, b) => a - b);
}

/** What was known of each vantage point and target at an instant. */
export function latest(ways: readonly Way[], at: number): Way[] {
  const found = new Map<string, Way>();
  for (const way of ways) {
    const key = `${way.vp} ${way.target}`;
    const known = found.get(key);
    if (way.at <= at && (known === undefined || way.at >= known.at)) found.set(key, way);
  }
  return [...found.values()];
}

/** The graph of ways; what `before` did not have is new. */
export function graphOf(ways: readonly Way[], before: readonly Way[] = ways): Graph {
  const old = new Set(before.flatMap(({ steps, edges }) => [...steps.keys(), ...edges.map(({ from, to }) => `${from}>${to}`)]));
  const gathered = new Map<string, { node: Node; rtts: number[]; backs: number[] }>();
  for (const { vp, steps } of ways) {
    for (const { step, back } of steps.values()) {
      const { key, name } = step;
      const kind = key.startsWith('vp ') ? 'vp' : key.startsWith('target ') ? 'target' : 'router';
      const found = gathered.get(key) ?? { node: { key, name, kind, rtt: undefined, vps: [], column: 0, row: 0, isNew: !old.has(key) }, rtts: [], backs: [] };
      found.rtts.push(...step.rtts);
      found.backs.push(back);
      if (!found.node.vps.includes(vp)) found.node.vps.push(vp);
      gathered.set(key, found);
    }
  }
  const byUse = [...gathered.values()].sort((a, b) => b.node.vps.length - a.node.vps.length);
  const drawn = byUse.slice(0, MOST_NODES);
  const farthest = Math.max(0, ...drawn.map(({ backs }) => middle(backs)));
  for (const { node, rtts, backs } of drawn) {
    node.rtt = quantile(sorted(rtts), 0.5);
    node.column = farthest - middle(backs);
  }
  const nodes = new Map(drawn.map(({ node }) => [node.key, node]));
  const links = new Map<string, Link>();
  for (const { vp, edges } of ways) {
    for (const { from, to, silent } of edges) {
      const [a, b] = [nodes.get(from), nodes.get(to)];
      if (!a || !b) continue;
      const key = `${from}>${to}`;
      const found = links.get(key) ?? { from: a, to: b, silent, vps: [], isNew: !old.has(key) };
      found.silent = Math.min(found.silent, silent);
      if (!found.vps.includes(vp)) found.vps.push(vp);
      links.set(key, found);
    }
  }
  const list = [...nodes.values()];
  const rows = arrange(list, [...links.values()]);
  return { nodes: list, links: [...links.values()], columns: farthest + 1, rows, left: byUse.length - drawn.length };
}

function middle(values: readonly number[]): number {
  return Math.round(quantile(sorted(values), 0.5) ?? 0);
}

/** Gives each node a row of its column, near its neighbours, by the means of their rows in a few sweeps. */
function arrange(nodes: readonly Node[], links: readonly Link[]): number {
  const columns = grouped(nodes, ({ column }) => column);
  const order = new Intl.Collator('en', { numeric: true });
  for (const column of columns.values()) {
    column.sort((a, b) => order.compare(a.name, b.name));
    column.forEach((node, at) => (node.row = at));
  }
  const rows = Math.max(1, ...[...columns.values()].map(({ length }) => length));
  const near = new Map<Node, Node[]>(nodes.map((node) => [node, []]));
  for (const { from, to } of links) {
    near.get(from)?.push(to);
    near.get(to)?.push(from);
  }
  const spread = () => {
    // Rows are over the whole height, so that those of short and long columns compare.
    for (const column of columns.values()) column.forEach((node, at) => (node.row = ((at + 0.5) * rows) / column.length));
  };
  spread();
  for (let sweep = 0; sweep < 6; sweep += 1) {
    const along = [...columns.keys()].sort((a, b) => (sweep % 2 === 0 ? b - a : a - b));
    for (const at of along) {
      const column = columns.get(at)!;
      const wish = new Map(column.map((node) => {
        const beside = near.get(node) ?? [];
        return [node, beside.length === 0 ? node.row : beside.reduce((sum, { row }) => sum + row, 0) / beside.length];
      }));
      column.sort((a, b) => wish.get(a)! - wish.get(b)!);
      column.forEach((node, place) => (node.row = ((place + 0.5) * rows) / column.length));
    }
  }
  return rows;
}
