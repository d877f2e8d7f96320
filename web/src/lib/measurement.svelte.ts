// One measurement and its results as they arrive. Records are gathered, and shown at once however many there are: the table of the
// newest follows at most ten times a second, and plots, which cost more, take a twentieth of the time at most.
//
// A long history is not read from its first result: the anchor's sums (`history.svelte.ts`) draw it, the newest results stand in the
// table, and what comes from then on goes on top.

import { flushSync } from 'svelte';
import { api, problem } from './api';
import type { Cursor, Measurement, MeasurementId, Ledger, Problem, ResultRecord } from './contract';
import { openStream, type Stream, type StreamState } from './stream';

/** The newest so many are kept; all are counted. */
export const KEPT = 5000;
/** A history with more results than this is not read from the first. */
const LONG = 2000;
/** So many of the newest of a long one. */
const NEWEST = 500;
/** So many results take more than a moment to draw. */
const MANY = 500;
const LEDGER_EVERY_MS = 1000;
const FRAME_MS = 16;
const TABLE_EVERY_MS = 100;
const SHARE_OF_PLOTS = 0.05;

export class Watched {
  measurement = $state.raw<Measurement | undefined>(undefined);
  ledger = $state.raw<Ledger | undefined>(undefined);
  /** The newest results, in the order in which they came. */
  records = $state.raw<ResultRecord[]>([]);
  /** The same for plots, a little later where there are many. */
  drawn = $state.raw<ResultRecord[]>([]);
  /** How many results came to this page, shown or not. */
  seen = $state(0);
  /** Whether results were there before this page was opened that were not read. */
  isPartial = $state(false);
  state = $state<StreamState>('connecting');
  failed = $state.raw<(Partial<Problem> & { title: string }) | undefined>(undefined);

  private stream: Stream | undefined;
  private waiting: ResultRecord[] = [];
  private showing = 0;
  private drawing = 0;
  private mayDrawAt = 0;
  private timer = 0;
  private closed = false;

  constructor(readonly id: MeasurementId) {
    void this.begin();
  }

  get over(): boolean {
    const state = this.measurement?.state;
    return (state === 'done' || state === 'cancelled') && (this.ledger?.pending ?? 0) === 0;
  }

  /** Whether there are results that the page does not have: only the anchor's sums tell of all. */
  get isLong(): boolean {
    return this.isPartial || this.seen > KEPT;
  }

  /** How many results there are: those that came, or those that the ledger knows where not all were read. */
  get total(): number {
    return this.isPartial ? (this.ledger?.accepted ?? 0) - (this.ledger?.pending ?? 0) : this.seen;
  }

  close(): void {
    this.closed = true;
    this.stream?.close();
    clearInterval(this.timer);
    clearTimeout(this.showing);
    clearTimeout(this.drawing);
  }

  async cancel(): Promise<void> {
    try {
      this.measurement = await api.cancel(this.id);
      this.ledger = this.measurement.ledger;
    } catch (error) {
      this.failed = problem(error);
    }
  }

  private async begin(): Promise<void> {
    await this.read();
    if (!this.measurement || !this.ledger || this.closed) return;
    const after = this.ledger.accepted - this.ledger.pending > LONG ? await this.readNewest() : undefined;
    if (this.closed) return;
    this.stream = openStream({ results: this.id, ...(after ? { after } : {}) }, this.listener());
    this.timer = window.setInterval(() => void (this.over || this.read()), LEDGER_EVERY_MS);
  }

  /** Reads the newest of a long history; what it gives is the place behind which the stream goes on. */
  private async readNewest(): Promise<Cursor | undefined> {
    this.isPartial = true;
    try {
      const { items } = await api.newest(this.id, NEWEST);
      this.take(items);
      const after = items.at(-1)?.cursor;
      this.isPartial = Boolean(after);
      return after ?? undefined;
    } catch (error) {
      // Then all are read, as those of a short one.
      this.isPartial = false;
      this.failed = problem(error);
      return undefined;
    }
  }

  private async read(): Promise<void> {
    try {
      this.measurement = await api.measurement(this.id);
      this.ledger = this.measurement.ledger;
      this.failed = undefined;
    } catch (error) {
      this.failed = problem(error);
    }
  }

  private listener() {
    return {
      state: (state: StreamState) => (this.state = state),
      records: (records: ResultRecord[]) => this.take(records.filter(({ final }) => final)),
      done: (ledger: Ledger) => {
        this.ledger = ledger;
        void this.read();
        this.showAll();
      },
      problem: (told: Problem) => (this.failed = told),
    };
  }

  private take(records: ResultRecord[]): void {
    this.waiting.push(...records);
    this.showing ||= window.setTimeout(() => this.show(), this.records.length > MANY ? TABLE_EVERY_MS : FRAME_MS);
  }

  private show(): void {
    this.showing = 0;
    this.seen += this.waiting.length;
    this.records = [...this.records, ...this.waiting].slice(-KEPT);
    this.waiting = [];
    this.drawing ||= window.setTimeout(() => this.draw(), Math.max(0, this.mayDrawAt - performance.now()));
  }

  /** Nothing more comes: what there is is shown at once. */
  private showAll(): void {
    clearTimeout(this.showing);
    this.show();
    clearTimeout(this.drawing);
    this.draw();
  }

  private draw(): void {
    this.drawing = 0;
    const begun = performance.now();
    this.drawn = this.records;
    flushSync();
    const ended = performance.now();
    this.mayDrawAt = ended + (ended - begun) / SHARE_OF_PLOTS;
  }
}
