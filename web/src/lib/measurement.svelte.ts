// One measurement and its results as they arrive. Records are gathered, and shown at once however many there are.

import { api, problem } from './api';
import type { Measurement, MeasurementId, Ledger, Problem, ResultRecord } from './contract';
import { openStream, type Stream, type StreamState } from './stream';

/** The newest so many are shown; all are counted. */
const KEPT = 5000;
/** So many results take more than a moment to draw. */
const MANY = 500;
const LEDGER_EVERY_MS = 1000;

export class Watched {
  measurement = $state.raw<Measurement | undefined>(undefined);
  ledger = $state.raw<Ledger | undefined>(undefined);
  records = $state.raw<ResultRecord[]>([]);
  /** How many results came, shown or not. */
  seen = $state(0);
  state = $state<StreamState>('connecting');
  failed = $state.raw<(Partial<Problem> & { title: string }) | undefined>(undefined);

  private stream: Stream | undefined;
  private waiting: ResultRecord[] = [];
  private frame = 0;
  private timer = 0;

  constructor(readonly id: MeasurementId) {
    void this.read().then(() => {
      if (!this.measurement || this.closed) return;
      this.stream = openStream({ results: this.id }, this.listener());
      this.timer = window.setInterval(() => void (this.over || this.read()), LEDGER_EVERY_MS);
    });
  }

  private closed = false;

  get over(): boolean {
    const state = this.measurement?.state;
    return (state === 'done' || state === 'cancelled') && (this.ledger?.pending ?? 0) === 0;
  }

  close(): void {
    this.closed = true;
    this.stream?.close();
    clearInterval(this.timer);
    clearTimeout(this.frame);
  }

  async cancel(): Promise<void> {
    try {
      this.measurement = await api.cancel(this.id);
      this.ledger = this.measurement.ledger;
    } catch (error) {
      this.failed = problem(error);
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
      records: (records: ResultRecord[]) => {
        this.waiting.push(...records.filter(({ final }) => final));
        // Few are drawn with the next frame; many are drawn ten times a second, however fast they come.
        this.frame ||= window.setTimeout(() => this.show(), this.records.length > MANY ? 100 : 16);
      },
      done: (ledger: Ledger) => {
        this.ledger = ledger;
        void this.read();
      },
      problem: (told: Problem) => (this.failed = told),
    };
  }

  private show(): void {
    this.frame = 0;
    this.seen += this.waiting.length;
    this.records = [...this.records, ...this.waiting].slice(-KEPT);
    this.waiting = [];
  }
}
