// How the network is doing as a whole: read every two seconds for as long as somebody looks. Where the network has a public page, it
// needs no session.

import { api, ApiError } from './api';
import type { NetworkStatus } from './contract';

const EVERY_MS = 2000;
const KEPT_RATES = 120;

export class Status {
  now = $state.raw<NetworkStatus | undefined>(undefined);
  /** Tasks that ended per second, the newest last. */
  rates = $state.raw<(number | undefined)[]>([]);
  /** Whether it was asked for, with or without an answer. */
  asked = $state(false);
  /** The network has no public page. */
  isAbsent = $state(false);
  /** The last question had no answer: what is shown is older. */
  isOld = $state(false);

  private timer = 0;
  private closed = false;

  constructor() {
    void this.read();
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
  }

  private async read(): Promise<void> {
    if (!document.hidden || !this.asked) {
      try {
        this.now = await api.status();
        this.rates = [...this.rates, this.now.results_per_s ?? undefined].slice(-KEPT_RATES);
        this.isOld = false;
      } catch (error) {
        this.isAbsent = error instanceof ApiError && error.problem.status === 404;
        this.isOld = true;
      }
    }
    this.asked = true;
    if (!this.closed) this.timer = window.setTimeout(() => void this.read(), EVERY_MS);
  }
}
