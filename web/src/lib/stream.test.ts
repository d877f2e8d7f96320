import { expect, test } from 'vitest';
import type { FromAnchor, FromClient, ResultRecord } from './contract';
import { CREDITS, Stream, type Socket, type StreamState } from './stream';

/** An anchor that keeps `total` results and sends what credits allow; its connections can be cut. */
function world(total: number) {
  const sockets: (Socket & { asked: FromClient[]; told: (message: FromAnchor) => void })[] = [];
  const timers: (() => void)[] = [];
  const seen: number[] = [];
  const states: StreamState[] = [];
  let done = false;
  const open = () => {
    const asked: FromClient[] = [];
    const socket = {
      asked,
      onopen: null, onmessage: null, onclose: null,
      send: (text: string) => void asked.push(JSON.parse(text) as FromClient),
      close: () => undefined,
      told: (message: FromAnchor) => (socket as Socket).onmessage?.({ data: JSON.stringify(message) }),
    };
    sockets.push(socket);
    return socket as Socket;
  };
  const stream = new Stream(
    { results: 'm' },
    {
      state: (state) => states.push(state),
      records: (records) => seen.push(...records.map(({ task }) => Number(task))),
      done: () => (done = true),
    },
    open,
    (act) => timers.push(act),
    () => undefined,
  );
  const record = (n: number) => ({ task: String(n), cursor: `${n}.0`, final: true }) as unknown as ResultRecord;
  /** Serves the newest connection, at most `most` records. */
  const serve = (most: number) => {
    const socket = sockets.at(-1)!;
    socket.onopen?.();
    const [first] = socket.asked;
    if (!first || !('subscribe' in first)) throw new Error('nothing was asked');
    let at = first.subscribe.after ? Number(first.subscribe.after.split('.')[0]) + 1 : 0;
    let credits = first.subscribe.credits;
    const end = Math.min(total, at + most);
    while (at < end && credits > 0) {
      const n = Math.min(100, end - at, credits);
      socket.told({ results: { id: 1, records: Array.from({ length: n }, (_, k) => record(at + k)) } });
      at += n;
      credits -= n;
      for (const one of socket.asked.splice(1)) if ('credit' in one) credits += one.credit.credits;
    }
    if (at === total) socket.told({ done: { id: 1, ledger: {} as never } });
  };
  return { sockets, timers, seen, states, stream, serve, isDone: () => done };
}

test('what breaks goes on behind the last record, without gap or duplicate', () => {
  const w = world(10_000);
  for (const most of [1, 777, 0, 4321, 10_000]) {
    w.serve(most);
    if (w.isDone()) break;
    w.sockets.at(-1)!.onclose?.();
    expect(w.states.at(-1)).toBe('cut off');
    w.timers.pop()!();
  }
  expect(w.seen).toEqual(Array.from({ length: 10_000 }, (_, n) => n));
  expect(w.isDone()).toBe(true);
  expect(w.states.at(-1)).toBe('done');
  expect(10_000).toBeGreaterThan(CREDITS);
});

test('it says when it is behind, and gives credits', () => {
  const w = world(1);
  w.sockets[0]!.onopen?.();
  w.sockets[0]!.told({ behind: { id: 1 } });
  expect(w.states.at(-1)).toBe('behind');
});

test('what was closed says nothing more', () => {
  const w = world(10);
  w.stream.close();
  const { length } = w.states;
  w.sockets[0]!.onclose?.();
  w.sockets[0]!.told({ behind: { id: 1 } });
  expect([w.states.length, w.timers.length]).toEqual([length, 0]);
});

test('events begin with those of before, and go on behind the last one', () => {
  const asked: FromClient[] = [];
  const sockets: Socket[] = [];
  const timers: (() => void)[] = [];
  const heard: string[] = [];
  const open = () => {
    const socket: Socket = { onopen: null, onmessage: null, onclose: null, send: (text) => void asked.push(JSON.parse(text) as FromClient), close: () => undefined };
    sockets.push(socket);
    return socket;
  };
  const listener = { event: ({ id }: { id?: string | null }) => void heard.push(id ?? '') };
  new Stream({ events: 200 }, listener, open, (act) => timers.push(act), () => undefined);
  const tell = (id: string) => sockets.at(-1)!.onmessage?.({ data: JSON.stringify({ event: { id: 1, event: { id, at: '', type: 'x', text: '' } } }) });
  sockets.at(-1)!.onopen?.();
  tell('3.1');
  tell('3.2');
  sockets.at(-1)!.onclose?.();
  timers.at(-1)!();
  sockets.at(-1)!.onopen?.();
  tell('3.3');
  expect(heard).toEqual(['3.1', '3.2', '3.3']);
  expect(asked).toEqual([
    { events: { id: 1, credits: CREDITS, last: 200 } },
    { events: { id: 1, credits: CREDITS, last: 200, after: '3.2' } },
  ]);
});
