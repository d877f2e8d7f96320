// The network as the anchor sees it: vantage points, modules, kinds, events. A page says which of the lists it shows; only those are
// read. Events come over a stream. What one vantage point's event may have changed is read again for that one alone, at most once a
// second; whole lists are read again when it is not known what changed, and now and then besides, the less often the longer they are.

import { api, ApiError, problem } from './api';
import type { Event, EventId, KindView, ModuleView, Problem, VpView } from './contract';
import { Listed } from './listed';
import { by, parse, sum } from './metrics';
import { openStream, type Stream, type StreamState } from './stream';

const KEPT_EVENTS = 200;
const KEPT_RATES = 120;
const EVERY_MS = 5000;
/** What comes together is read together: so long after the first event, */
const SOON_MS = 100;
/** and so long, or so many times what it took, after the last reading. */
const APART_MS = 1000;
const APART_TIMES = 10;
/** Readings that follow upon time alone are apart by so many times what one takes. */
const EVERY_TIMES = 100;
/** Beyond so many vantage points at once whole lists are read. */
const FEW = 16;
const METRICS_EVERY_MS = 2000;
const WANTED = new Set(['mmn_tasks_ended_total', 'mmn_tasks_pending', 'mmn_kind_tasks_ended_total']);

export type Work = { outcomes: Record<string, number>; pending: number };
/** What a page may show; `work` is what becomes of tasks. */
export type Part = 'vps' | 'modules' | 'kinds' | 'work';

class Network {
  /** By name. */
  vps = $state.raw<readonly VpView[]>([]);
  modules = $state.raw<readonly ModuleView[]>([]);
  kinds = $state.raw<KindView[]>([]);
  events = $state.raw<Event[]>([]);
  dropped = $state(0);
  /** Counts up when measurements were accepted or ended, once a second at most. */
  turns = $state(0);
  stream = $state<StreamState>('connecting');
  loaded = $state(false);
  failed = $state.raw<(Partial<Problem> & { title: string }) | undefined>(undefined);
  work = $state.raw<Work | undefined>(undefined);
  /** Tasks that ended per second, the newest last. */
  rates = $state.raw<{ at: number; value: number }[]>([]);

  private readonly listed = new Listed<VpView>(({ vantage_point: vp }) => vp.id, ({ vantage_point: vp }) => vp.name);
  private readonly users = new Map<Part, number>();
  /** What was read, and of which vantage point alone. */
  private readonly known = new Set<Part>();
  private only: string | undefined;
  private live: Stream | undefined;
  /** The newest event that came, over all pages. */
  private heard: EventId | undefined;
  private timers: number[] = [];
  private soon = 0;
  private fresh: Event[] = [];
  /** The vantage points of which something may have changed, and whether anything else may have. */
  private touched = new Set<string>();
  private stale = false;
  private worked = false;
  private reading = false;
  private readAt = -Infinity;
  private mayReadAt = -Infinity;
  private tookMs = 0;
  private measuring = false;
  private last: { at: number; ended: number } | undefined;

  /** Keeps these up to date, or what of them is of one vantage point (its id or name), for as long as somebody looks; call what it
   * gives to let go. */
  watch(parts: readonly Part[], only?: string): () => void {
    const isFirst = this.users.size === 0;
    if (only !== this.only) this.known.clear();
    this.only = only;
    this.use(parts, 1);
    // What another page has read is shown until it is read again.
    this.loaded = parts.every((part) => this.known.has(part));
    if (isFirst) this.begin();
    else this.note({ stale: true });
    return () => {
      this.use(parts, -1);
      if (this.users.size === 0) this.end();
    };
  }

  vp(id: string): VpView | undefined {
    // Whoever asks is told when the list changes.
    const all = this.vps;
    return this.listed.get(id) ?? all.find(({ vantage_point: vp }) => vp.name === id);
  }

  get simulated(): boolean {
    return this.vps.some(({ vantage_point: vp }) => vp.simulated) || this.modules.some(({ simulated }) => simulated);
  }

  private use(parts: readonly Part[], by: number): void {
    for (const part of parts) {
      const users = (this.users.get(part) ?? 0) + by;
      if (users > 0) this.users.set(part, users);
      else this.users.delete(part);
    }
  }

  private begin(): void {
    this.stale = true;
    this.live = openStream({ events: KEPT_EVENTS, ...(this.heard ? { after: this.heard } : {}) }, {
      state: (state) => {
        const isBack = state === 'live' && this.stream !== 'live';
        this.stream = state;
        if (isBack) this.note({ stale: true });
      },
      event: (event, dropped) => {
        this.dropped += dropped;
        this.heard = event.id ?? this.heard;
        this.fresh.unshift(event);
        this.fresh.length = Math.min(this.fresh.length, KEPT_EVENTS);
        if (event.type.startsWith('measurement-')) this.note({ worked: true, stale: dropped > 0 });
        else if (event.vp && dropped === 0) this.note(this.concerns(event.vp) ? { vp: event.vp } : {});
        else this.note({ stale: true });
      },
    });
    const visible = (act: () => unknown) => () => void (document.hidden || act());
    this.timers = [
      window.setInterval(visible(() => performance.now() - this.readAt > this.tookMs * EVERY_TIMES && this.note({ stale: true })), EVERY_MS),
      window.setInterval(visible(() => this.users.has('work') && this.measure()), METRICS_EVERY_MS),
    ];
    void this.read();
    if (this.users.has('work')) void this.measure();
  }

  private end(): void {
    this.live?.close();
    this.timers.forEach((timer) => clearInterval(timer));
    clearTimeout(this.soon);
    this.soon = 0;
    // They do not come again.
    this.tell();
    this.stream = 'connecting';
    this.last = undefined;
  }

  private concerns(vp: string): boolean {
    return this.only === undefined || this.vps.some(({ vantage_point: one }) => one.id === vp);
  }

  /** Something has happened: it is seen soon, together with what happens until then. */
  private note({ vp, stale = false, worked = false }: { vp?: string; stale?: boolean; worked?: boolean }): void {
    if (vp !== undefined) this.touched.add(vp);
    this.stale ||= stale;
    this.worked ||= worked;
    this.soon ||= window.setTimeout(() => this.take(), SOON_MS);
  }

  private take(): void {
    this.soon = 0;
    this.tell();
    const changed = this.stale || this.worked || this.touched.size > 0;
    if (!changed || this.users.size === 0 || this.reading) return;
    const wait = this.mayReadAt - performance.now();
    if (wait > 0) this.soon = window.setTimeout(() => this.take(), wait);
    else void this.read();
  }

  private tell(): void {
    if (this.fresh.length === 0) return;
    this.events = [...this.fresh, ...this.events].slice(0, KEPT_EVENTS);
    this.fresh = [];
  }

  /** Reads what may have changed, one reading at a time. */
  private async read(): Promise<void> {
    const [whole, touched, worked] = [this.stale || this.touched.size > FEW, [...this.touched], this.worked];
    [this.stale, this.worked] = [false, false];
    this.touched.clear();
    this.reading = true;
    const begun = performance.now();
    if (worked) this.turns += 1;
    if (worked && this.users.has('work')) void this.measure();
    try {
      if (whole || !this.loaded) await this.readAll();
      else if (touched.length > 0) await this.readSome(touched);
      this.failed = undefined;
    } catch (error) {
      // It is tried again in time.
      this.failed = problem(error);
    }
    this.reading = false;
    const ended = performance.now();
    this.mayReadAt = ended + Math.max(APART_MS, (ended - begun) * APART_TIMES);
    if (whole) [this.readAt, this.tookMs] = [ended, ended - begun];
    // What happened meanwhile makes one more.
    if (this.stale || this.worked || this.touched.size > 0) this.note({});
  }

  private async readAll(): Promise<void> {
    const [only, parts] = [this.only, [...this.users.keys()]];
    const wants = (part: Part) => parts.includes(part);
    const one = only === undefined ? undefined : await api.vp(only).catch(missing);
    const ofOne = one && api.modulesOf(one.vantage_point.id);
    const [vps, modules, kinds] = await Promise.all([
      only !== undefined ? (one ? [one] : []) : wants('vps') ? api.vps() : undefined,
      only !== undefined ? (ofOne ?? []) : wants('modules') ? api.modules() : undefined,
      wants('kinds') ? api.kinds() : undefined,
    ]);
    // Somebody has gone to another page meanwhile.
    if (this.only !== only) return void (this.stale = true);
    if (vps) this.vps = this.listed.replace(vps);
    if (modules) this.modules = modules;
    if (kinds) this.kinds = kinds;
    for (const part of parts) this.known.add(part);
    this.loaded = [...this.users.keys()].every((part) => this.known.has(part));
  }

  /** Reads a few vantage points, their modules, and the kinds. */
  private async readSome(ids: readonly string[]): Promise<void> {
    const wants = (part: Part) => this.users.has(part);
    const [vps, modules, kinds] = await Promise.all([
      wants('vps') ? Promise.all(ids.map((id) => api.vp(id).catch(missing))) : undefined,
      wants('modules') ? Promise.all(ids.map((id) => api.modulesOf(id))) : undefined,
      wants('kinds') ? api.kinds() : undefined,
    ]);
    // One that is not known any more: then it is not known what else has gone.
    if (vps?.includes(undefined)) this.stale = true;
    if (vps) this.vps = this.listed.patch(vps.filter((vp) => vp !== undefined));
    if (modules) this.modules = inPlace(this.modules, new Map(ids.map((id, at) => [id, modules[at] ?? []])));
    if (kinds) this.kinds = kinds;
  }

  private async measure(): Promise<void> {
    if (this.measuring) return;
    this.measuring = true;
    const text = await api.metrics().catch(() => undefined);
    this.measuring = false;
    if (text === undefined) return;
    const metrics = parse(text, WANTED);
    const ended = sum(metrics, 'mmn_tasks_ended_total') ?? 0;
    const now = performance.now();
    const last = this.last;
    // Rates are of whole intervals; the sums are always the newest.
    if (!last || ended < last.ended || now - last.at >= METRICS_EVERY_MS * 0.9) {
      if (last && ended >= last.ended) {
        const value = ((ended - last.ended) * 1000) / (now - last.at);
        this.rates = [...this.rates, { at: Date.now(), value }].slice(-KEPT_RATES);
      }
      this.last = { at: now, ended };
    }
    this.work = {
      outcomes: Object.fromEntries(by(metrics, 'mmn_tasks_ended_total', 'outcome')),
      pending: sum(metrics, 'mmn_tasks_pending') ?? 0,
    };
  }
}

function missing(error: unknown): undefined {
  if (!(error instanceof ApiError) || error.problem.status !== 404) throw error;
}

/** The modules of some vantage points are these now; the others, and the order, stay. */
function inPlace(before: readonly ModuleView[], anew: Map<string, readonly ModuleView[]>): ModuleView[] {
  const left = new Map(anew);
  const take = (vp: string) => {
    const own = left.get(vp) ?? [];
    left.delete(vp);
    return own;
  };
  const after = before.flatMap((one) => (anew.has(one.vp) ? take(one.vp) : [one]));
  return [...after, ...[...left.values()].flat()];
}

export const network = new Network();
