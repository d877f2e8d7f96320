// What a selection chooses, asked of the anchor while somebody types: the grammar has one parser, and it is not here.

import { api, ApiError } from './api';

export class Selecting {
  /** Absent: nothing was asked, so all are chosen. */
  chosen = $state.raw<ReadonlySet<string> | undefined>(undefined);
  error = $state<string | undefined>(undefined);
  /** The character that is wrong, from 0. */
  position = $state<number | undefined>(undefined);

  /** The selection that all of this is about. */
  text = $state('');

  private asking: AbortController | undefined;

  async ask(text: string): Promise<void> {
    this.asking?.abort();
    if (text.trim() === '') {
      this.chosen = undefined;
      this.error = undefined;
      this.position = undefined;
      this.text = text;
      return;
    }
    const asking = new AbortController();
    this.asking = asking;
    try {
      const selected = await api.select(text, asking.signal);
      if (asking.signal.aborted) return;
      this.chosen = new Set(selected.ids ?? []);
      this.error = undefined;
      this.position = undefined;
      this.text = text;
    } catch (error) {
      if (asking.signal.aborted) return;
      const wrong = error instanceof ApiError ? error.problem.errors?.[0] : undefined;
      this.error = wrong?.detail ?? (error as Error).message;
      this.position = wrong?.position ?? undefined;
      this.text = text;
    }
  }
}
