// An anchor's API as far as the page asks for it, with what a benchmark wants behind it: ten thousand vantage points, or a stream of
// results that was recorded before. It serves the site as it was built.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { readFileSync, existsSync } from 'node:fs';
import { extname, join } from 'node:path';
import type { AddressInfo } from 'node:net';
import { WebSocketServer, type WebSocket } from 'ws';
import type { FromAnchor, FromClient, KindView, Ledger, Measurement, ResultRecord, Rollup, RollupNumber, VpView } from '../src/lib/contract.ts';

const SITE = new URL('../dist/site', import.meta.url).pathname;
const TYPES: Record<string, string> = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
const TICK_MS = 20;
/** How wide an anchor's slices of a minute are: over all vantage points, and of each in the width that the page asks for. */
const FINE_MS = 100;
const COARSE_MS = 500;
/** Something happens to some vantage point so often. */
const EVENT_MS = 250;

/** A stream: records of one measurement that come at `rate` per second for `seconds`, made of recorded ones; `sums` are those of each
 * vantage point over all that was recorded. */
export type Replay = { measurement: Measurement; recorded: ResultRecord[]; sums: Rollup[]; rate: number; seconds: number };
export type World = { vps?: VpView[]; kinds?: KindView[]; replay?: Replay };

export async function serve(world: World): Promise<{ url: string; end: () => Promise<void> }> {
  const selecting = selector(world.vps ?? []);
  const stream = world.replay ? new Streamed(world.replay) : undefined;
  const server = createServer((request, response) => void answer(world, stream, selecting, request, response));
  const sockets = new WebSocketServer({ server, path: '/api/v1/stream' });
  sockets.on('connection', (socket) => {
    socket.on('message', (data) => {
      const asked = JSON.parse(String(data)) as FromClient;
      if ('subscribe' in asked) stream?.subscribe(socket, asked.subscribe.id, asked.subscribe.credits);
      else if ('events' in asked && world.vps) happen(socket, asked.events.id, world.vps);
      else if ('credit' in asked) stream?.credit(asked.credit.credits);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const end = () => new Promise<void>((resolve) => {
    stream?.end();
    for (const socket of sockets.clients) socket.terminate();
    server.close(() => resolve());
    server.closeAllConnections();
  });
  return { url, end };
}

function swung(numbers: Rollup['numbers'], by: number): Rollup['numbers'] {
  const swing = ({ quantiles: _, ...one }: RollupNumber): RollupNumber => ({ ...one, q1: one.q1 * by, median: one.median * by, q3: one.q3 * by, max: one.max * by });
  return Object.fromEntries(Object.entries(numbers).map(([name, number]) => [name, name.endsWith('_ns') ? swing(number) : number]));
}

/** Tells of one vantage point after the other. */
function happen(socket: WebSocket, id: number, vps: readonly VpView[]): void {
  let n = 0;
  const timer = setInterval(() => {
    n += 1;
    const { id: vp, name } = vps[(n * 7919) % vps.length]!.vantage_point;
    const event = { type: 'module-degraded', at: new Date().toISOString(), vp, text: `something happens at ${name}` };
    socket.send(JSON.stringify({ event: { id, event } }));
  }, EVENT_MS);
  socket.on('close', () => clearInterval(timer));
}

/** Sends what is due, as far as credits go: what they do not cover waits, and nothing is dropped. */
class Streamed {
  private socket: WebSocket | undefined;
  private id = 0;
  private credits = 0;
  private sent = 0;
  private begun = 0;
  private timer: NodeJS.Timeout | undefined;
  private readonly texts: string[];

  constructor(readonly replay: Replay) {
    // The task and the cursor are written anew for each; the rest is as it was recorded.
    this.texts = replay.recorded.map((record) => JSON.stringify({ ...record, task: '@task', cursor: '@cursor' }));
  }

  get all(): number {
    return this.replay.rate * this.replay.seconds;
  }

  get measurement(): Measurement {
    const { measurement } = this.replay;
    const over = this.sent === this.all;
    return { ...measurement, state: over ? 'done' : 'running', done_at: over ? new Date().toISOString() : null, ledger: this.ledger };
  }

  subscribe(socket: WebSocket, id: number, credits: number): void {
    Object.assign(this, { socket, id, credits, begun: performance.now() });
    this.timer = setInterval(() => this.tick(), TICK_MS);
  }

  credit(more: number): void {
    this.credits += more;
  }

  end(): void {
    clearInterval(this.timer);
  }

  /** The sums until now as the page asks for them: as many slices as an anchor would have of so long a stream. */
  rollups(query: URLSearchParams): Rollup[] {
    const { sums, measurement } = this.replay;
    if (query.get('interval') === 'all') return sums;
    const width = query.has('merge') ? FINE_MS : COARSE_MS;
    const many = Math.ceil(Math.max(performance.now() - this.begun, 1) / width);
    const begin = Date.parse(measurement.accepted_at);
    const of = query.has('merge') ? sums.slice(0, 1).map(({ vp: _, ...all }) => all) : sums;
    return Array.from({ length: many }, (_, at) => {
      const start = new Date(begin + at * width).toISOString();
      // Not all slices are alike, or there would be little to draw.
      const swing = 1 + Math.sin(at / 7) / 4;
      return of.map((one): Rollup => ({ ...one, start, interval_ns: width * 1e6, numbers: swung(one.numbers, swing) }));
    }).flat();
  }

  private get ledger(): Ledger {
    return { accepted: this.all, ok: this.sent, failed: 0, refused: 0, lost: 0, cancelled: 0, pending: this.all - this.sent, answered: this.sent };
  }

  private tick(): void {
    const due = Math.min(this.all, Math.floor(((performance.now() - this.begun) / 1000) * this.replay.rate));
    const n = Math.min(due - this.sent, this.credits);
    if (n > 0) {
      const records: string[] = [];
      for (let at = this.sent; at < this.sent + n; at += 1) {
        const text = this.texts[at % this.texts.length]!;
        records.push(text.replace('@task', `${this.replay.measurement.id}-${at}`).replace('@cursor', `${at + 1}.0`));
      }
      this.socket?.send(`{"results":{"id":${this.id},"records":[${records.join(',')}]}}`);
      this.sent += n;
      this.credits -= n;
    }
    if (this.sent === this.all) {
      this.end();
      this.socket?.send(JSON.stringify({ done: { id: this.id, ledger: this.ledger } } satisfies FromAnchor));
    }
  }
}

async function answer(world: World, stream: Streamed | undefined, selecting: (text: string) => string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://stub');
  const json = (value: unknown) => {
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify(value));
  };
  const page = (items: readonly unknown[] = []) => json({ items });
  /** A part of a list whose items come in the order of their ids. */
  const part = (items: readonly VpView[] = []) => {
    const [after, limit] = [searchParams.get('after') ?? '', Number(searchParams.get('limit') ?? items.length)];
    const rest = items.filter(({ vantage_point: vp }) => vp.id > after);
    const next = rest.length > limit ? rest[limit - 1]!.vantage_point.id : undefined;
    json({ items: rest.slice(0, limit), next });
  };
  switch (pathname.replace('/api/v1/', '')) {
    case 'whoami':
      return json({ subject: 'benchmark', tenant: 'default' });
    case 'vps':
      return part(world.vps);
    case 'modules':
      return page();
    case 'kinds':
      return page(world.kinds);
    case 'select':
      response.setHeader('Content-Type', 'application/json');
      return void response.end(selecting(((await body(request)) as { select: string }).select));
    case '/metrics':
      return void response.end('');
  }
  const one = /^\/api\/v1\/vps\/([^/]+)$/.exec(pathname)?.[1];
  const found = one && world.vps?.find(({ vantage_point: vp }) => vp.id === one);
  if (found) return json({ ...found, last_seen_at: new Date().toISOString() });
  const of = stream && `/api/v1/measurements/${stream.replay.measurement.id}`;
  if (pathname === of) return json(stream!.measurement);
  if (pathname === `${of}/rollups`) return page(stream!.rollups(searchParams));
  if (pathname === `${of}/results` && searchParams.has('last')) return page();
  if (pathname.startsWith('/api/')) {
    response.statusCode = 404;
    response.setHeader('Content-Type', 'application/problem+json');
    return void response.end(JSON.stringify({ type: '/problems/not-found', title: 'not here', status: 404, reason: 'not-found' }));
  }
  return site(pathname, response);
}

/** Bare words alone, as names, countries, cities and tags begin with them. It is quick: the anchor's time is not what is measured. */
function selector(vps: readonly VpView[]): (text: string) => string {
  const known = vps.map(({ vantage_point: vp }) => ({
    words: [vp.name, vp.location?.country, vp.location?.city, ...(vp.tags ?? [])].flatMap((word) => (word ? [word.toLowerCase()] : [])),
    json: JSON.stringify(vp.id),
  }));
  return (text) => {
    const begin = text.trim().toLowerCase();
    const chosen = known.filter(({ words }) => words.some((word) => word.startsWith(begin)));
    const both = { matched: chosen.length, chosen: chosen.length };
    const coverage = JSON.stringify({ ...both, ases: both, countries: both });
    return `{"select":${JSON.stringify(text)},"vps":[],"ids":[${chosen.map(({ json }) => json).join(',')}],"coverage":${coverage}}`;
  };
}

async function body(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return JSON.parse(Buffer.concat(chunks).toString());
}

function site(path: string, response: ServerResponse): void {
  const file = join(SITE, path);
  const known = file.startsWith(SITE) && TYPES[extname(file)] && existsSync(file) ? file : join(SITE, 'index.html');
  response.setHeader('Content-Type', TYPES[extname(known)]!);
  response.end(readFileSync(known));
}
