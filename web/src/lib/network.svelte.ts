// The network as the anchor sees it: vantage points, modules, kinds, events. Events come over a stream; on each of them, and every few
// seconds besides, the lists are read again, the less often the longer they are.

import { api, problem } from './api';
import type { Event, EventId, KindView, ModuleView, Problem, VpView } from './contract';
import { by, parse, sum } from './metrics';
import { openStream, type Stream, type StreamState } from './stream';

const KEPT_EVENTS = 200;
const KEPT_RATES = 120;
const EVERY_MS = 5000;
/** Readings that follow upon events are apart by so much, */
const APART_MS = 300;
/** and by so many times what one takes; those that follow upon time by more. */
const APART_TIMES = 10;
const EVERY_TIMES = 100;
const METRICS_EVERY_MS = 2000;
const WANTED = new Set(['mmn_tasks_ended_total', 'mmn_tasks_pending', 'mmn_kind_tasks_ended_total']);

export type Work = { outcomes: Record<string, number>; pending: number };

class Network {
  vps = $state.raw<VpView[]>([]);
  modules = $state.raw<ModuleView[]>([]);
  kinds = $state.raw<KindView[]>([]);
  events = $state.raw<Event[]>([]);
  dropped = $state(0);
  stream = $state<StreamState>('connecting');
  loaded = $state(false);
  failed = $state.raw<(Partial<Problem> & { title: string }) | undefined>(undefined);
  work = $state.raw<Work | undefined>(undefined);
  /** Tasks that ended per second, the newest last. */
  rates = $state.raw<{ at: number; value: number }[]>([]);

  private users = 0;
  private live: Stream | undefined;
  /** The newest event that came, over all pages. */
  private heard: EventId | undefined;
  private timers: number[] = [];
  private reading = false;
  private measuring = false;
  private again = false;
  private readAt = -Infinity;
  private tookMs = 0;
  private last: { at: number; ended: number } | undefined;

  /** Keeps it up to date for as long as somebody looks; call what it gives to let go. */
  watch(): () => void {
    this.users += 1;
    if (this.users === 1) this.begin();
    return () => {
      this.users -= 1;
      if (this.users === 0) this.end();
    };
  }

  vp(id: string): VpView | undefined {
    return this.vps.find(({ vantage_point: vp }) => vp.id === id || vp.name === id);
  }

  get simulated(): boolean {
    return this.vps.some(({ vantage_point: vp }) => vp.simulated);
  }

  private begin(): void {
    this.live = openStream({ events: KEPT_EVENTS, ...(this.heard ? { after: this.heard } : {}) }, {
      state: (state) => {
        this.stream = state;
        if (state === 'live') void this.read();
      },
      event: (event, dropped) => {
        this.dropped += dropped;
        this.heard = event.id ?? this.heard;
        this.events = [event, ...this.events].slice(0, KEPT_EVENTS);
        if (event.type.startsWith('measurement-')) void this.measure();
        else void this.read();
      },
    });
    const visible = (act: () => unknown) => () => void (document.hidden || act());
    this.timers = [
      window.setInterval(visible(() => performance.now() - this.readAt > this.tookMs * EVERY_TIMES && this.read()), EVERY_MS),
      window.setInterval(visible(() => this.measure()), METRICS_EVERY_MS),
    ];
    void this.read();
    void this.measure();
  }

  private end(): void {
    this.live?.close();
    this.timers.forEach((timer) => clearInterval(timer));
    this.last = undefined;
  }

  /** Reads the lists, one reading at a time. */
  private async read(): Promise<void> {
    if (this.reading) {
      this.again = true;
      return;
    }
    this.reading = true;
    const begun = performance.now();
    try {
      [this.vps, this.modules, this.kinds] = await Promise.all([api.vps(), api.modules(), api.kinds()]);
      this.loaded = true;
      this.failed = undefined;
    } catch (error) {
      this.failed = problem(error);
    }
    this.readAt = performance.now();
    this.tookMs = this.readAt - begun;
    // What happens meanwhile makes one more.
    setTimeout(() => {
      this.reading = false;
      if (!this.again || this.users === 0) return;
      this.again = false;
      void this.read();
    }, Math.max(APART_MS, this.tookMs * APART_TIMES));
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

export const network = new Network();
