// The page's one stream: a WebSocket to the anchor that carries subscriptions and is opened again when it breaks. Results resume
// behind the last cursor that was handed out, so that none is missed and none comes twice; events likewise, as far as the anchor still
// has them. Pure but for the socket and the timer,
// which are given.

import type { Cursor, Event, EventId, FromAnchor, FromClient, Ledger, MeasurementId, Problem, ResultRecord } from './contract';

/** What it needs of a WebSocket. */
export type Socket = {
  send(text: string): void;
  close(): void;
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: (() => void) | null;
};

export type StreamState = 'connecting' | 'live' | 'behind' | 'cut off' | 'done';

export type Listener = {
  state?: (state: StreamState) => void;
  records?: (records: ResultRecord[]) => void;
  done?: (ledger: Ledger) => void;
  event?: (event: Event, dropped: number) => void;
  problem?: (problem: Problem) => void;
};

/** Results may begin behind one that was read before; events, too, and then so many of before come first. */
export type Subscribed = { results: MeasurementId; after?: Cursor } | { events: number; after?: EventId };

/** So many records may be on their way. */
export const CREDITS = 2000;
const PAUSES_MS = [250, 500, 1000, 2000, 5000];
const ID = 1;

export class Stream {
  private socket: Socket | undefined;
  private timer: unknown;
  private tries = 0;
  private spent = 0;
  private after: Cursor | EventId | undefined;
  private over = false;

  constructor(
    private readonly what: Subscribed,
    private readonly listener: Listener,
    private readonly open: () => Socket,
    private readonly later: (act: () => void, ms: number) => unknown,
    private readonly forget: (timer: unknown) => void,
  ) {
    this.after = what.after;
    this.connect();
  }

  /** Ends it for good. */
  close(): void {
    this.over = true;
    this.forget(this.timer);
    this.socket?.close();
  }

  private connect(): void {
    if (this.over) return;
    this.listener.state?.(this.tries === 0 ? 'connecting' : 'cut off');
    const socket = this.open();
    this.socket = socket;
    socket.onopen = () => {
      this.spent = 0;
      this.say(this.question());
      this.listener.state?.('live');
    };
    socket.onmessage = ({ data }) => {
      if (this.socket !== socket || this.over || typeof data !== 'string') return;
      this.tries = 0;
      this.hear(JSON.parse(data) as FromAnchor);
    };
    socket.onclose = () => {
      if (this.socket !== socket || this.over) return;
      const pause = PAUSES_MS[Math.min(this.tries, PAUSES_MS.length - 1)]!;
      this.tries += 1;
      this.listener.state?.('cut off');
      this.timer = this.later(() => this.connect(), pause);
    };
  }

  private question(): FromClient {
    const resumed = this.after === undefined ? {} : { after: this.after };
    if ('events' in this.what) return { events: { id: ID, credits: CREDITS, last: this.what.events, ...resumed } };
    return { subscribe: { id: ID, measurement: this.what.results, credits: CREDITS, ...resumed } };
  }

  private say(message: FromClient): void {
    this.socket?.send(JSON.stringify(message));
  }

  private hear(message: FromAnchor): void {
    if ('results' in message) {
      const { records } = message.results;
      // Parts have no cursor: they are not kept, and a break may repeat them.
      for (const { cursor } of records) if (cursor) this.after = cursor;
      this.listener.state?.('live');
      this.listener.records?.(records);
      this.spend(records.length);
    } else if ('event' in message) {
      this.after = message.event.event.id ?? this.after;
      this.listener.state?.('live');
      this.listener.event?.(message.event.event, message.event.dropped ?? 0);
      this.spend(1);
    } else if ('behind' in message) {
      this.listener.state?.('behind');
      this.spend(0);
    } else if ('done' in message) {
      this.listener.done?.(message.done.ledger);
      this.listener.state?.('done');
      this.close();
    } else if ('problem' in message) {
      this.listener.problem?.(message.problem.problem);
    }
  }

  /** Gives credits back once half of them are used. */
  private spend(used: number): void {
    this.spent += used;
    if (this.spent < CREDITS / 2) return;
    this.say({ credit: { id: ID, credits: this.spent } });
    this.spent = 0;
  }
}

/** A stream of this page's anchor. */
export function openStream(what: Subscribed, listener: Listener): Stream {
  const url = new URL('/api/v1/stream', location.href);
  url.protocol = url.protocol.replace('http', 'ws');
  const open = () => new WebSocket(url) as Socket;
  const later = (act: () => void, ms: number) => setTimeout(act, ms);
  return new Stream(what, listener, open, later, (timer) => clearTimeout(timer as number));
}
