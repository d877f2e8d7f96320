// The calls of the API that the page makes. The session's cookie says who asks; nothing here holds a token.

import type {
  Availability,
  InputsPage,
  KindView,
  Measurement,
  MeasurementId,
  MeasurementRequest,
  MeasurementState,
  ModuleView,
  NetworkStatus,
  NodeAnswer,
  NodeOrder,
  Page,
  Plan,
  Problem,
  ResultRecord,
  Rollup,
  Selected,
  SignIn,
  VpView,
  WhoAmI,
} from './contract';
import { texts } from '../texts';

/** An answer that is a problem (RFC 9457), or no answer at all. */
export class ApiError extends Error {
  constructor(readonly problem: Partial<Problem> & { title: string; status: number }) {
    super(problem.detail ?? problem.title);
  }

  /** Whether somebody has to sign in first. */
  get isUnauthorized(): boolean {
    return this.problem.status === 401;
  }
}

let unauthorized = (): void => undefined;

/** What happens when nobody is signed in any more. */
export function whenUnauthorized(act: () => void): void {
  unauthorized = act;
}

async function call<T>(method: string, path: string, body?: unknown, init: RequestInit = {}): Promise<T> {
  const headers = new Headers(init.headers);
  if (body !== undefined) headers.set('Content-Type', 'application/json');
  const request: RequestInit = { ...init, method, headers, credentials: 'same-origin' };
  if (body !== undefined) request.body = JSON.stringify(body);
  let response: Response;
  try {
    response = await fetch(path, request);
  } catch (error) {
    if ((error as Error).name === 'AbortError') throw error;
    throw new ApiError({ status: 0, title: texts.errors.unreachable, hint: texts.errors.unreachableHint });
  }
  if (response.status === 401) unauthorized();
  if (!response.ok) throw new ApiError(await problemOf(response));
  if (response.status === 204) return undefined as T;
  const json = response.headers.get('Content-Type')?.includes('json') ?? false;
  return (json ? await response.json() : await response.text()) as T;
}

async function problemOf(response: Response): Promise<Problem> {
  try {
    return (await response.json()) as Problem;
  } catch {
    return { type: '', reason: 'unreadable', status: response.status, title: texts.errors.status(response.status) };
  }
}

const v1 = (path: string) => `/api/v1${path}`;
const of = (id: string) => encodeURIComponent(id);

/** A list is read in parts: reading one takes no longer than a frame. */
const PART = 1000;

async function all<T>(path: string): Promise<T[]> {
  const items: T[] = [];
  for (let after: string | null | undefined = ''; ; ) {
    const query: string = `limit=${PART}${after ? `&after=${of(after)}` : ''}`;
    const page: Page<T> = await call<Page<T>>('GET', v1(`${path}?${query}`));
    items.push(...page.items);
    after = page.next;
    if (!after) return items;
  }
}

export const api = {
  whoami: () => call<WhoAmI>('GET', v1('/whoami')),
  signIn: (by: SignIn) => call<WhoAmI>('POST', v1('/session'), by),
  signOut: () => call<void>('DELETE', v1('/session')),

  vps: () => all<VpView>('/vps'),
  vp: (vp: string) => call<VpView>('GET', v1(`/vps/${of(vp)}`)),
  availability: (vp: string) => call<Availability>('GET', v1(`/vps/${of(vp)}/availability`)),
  status: () => call<NetworkStatus>('GET', v1('/status')),
  modules: () => all<ModuleView>('/modules'),
  modulesOf: async (vp: string) => (await call<Page<ModuleView>>('GET', v1(`/modules?vp=${of(vp)}`))).items,
  kinds: async () => (await call<Page<KindView>>('GET', v1('/kinds'))).items,
  select: (select: string, signal?: AbortSignal) =>
    call<Selected>('POST', v1('/select'), { select, ids_only: true }, signal ? { signal } : {}),
  order: (vp: string, order: NodeOrder) => call<NodeAnswer>('POST', v1(`/vps/${of(vp)}/modules`), order),

  plan: (request: MeasurementRequest, signal?: AbortSignal) =>
    call<Plan>('POST', v1('/measurements?dry_run=1'), request, signal ? { signal } : {}),
  measure: (request: MeasurementRequest, key: string) =>
    call<Measurement>('POST', v1('/measurements'), request, { headers: { 'Idempotency-Key': key } }),
  measurements: (after?: string, limit = 50) =>
    call<Page<Measurement>>('GET', v1(`/measurements?limit=${limit}${after ? `&after=${of(after)}` : ''}`)),
  /** The newest final results, in the order in which they came. */
  newest: (id: MeasurementId, last: number) =>
    call<Page<ResultRecord>>('GET', v1(`/measurements/${of(id)}/results?format=json&last=${last}`)),
  /** The newest that take a vantage point, in these states. */
  measurementsAt: async (vp: string, states: readonly MeasurementState[], limit: number) =>
    (await call<Page<Measurement>>('GET', v1(`/measurements?vp=${of(vp)}&state=${states.join()}&limit=${limit}`))).items,
  /** The first so many inputs, and how many there are. */
  inputs: (id: MeasurementId, limit: number) => call<InputsPage>('GET', v1(`/measurements/${of(id)}/inputs?limit=${limit}`)),
  measurement: (id: MeasurementId) => call<Measurement>('GET', v1(`/measurements/${of(id)}`)),
  rollups: (id: MeasurementId, query: Record<string, string>) =>
    call<Page<Rollup>>('GET', v1(`/measurements/${of(id)}/rollups?${new URLSearchParams(query)}`)),
  cancel: (id: MeasurementId) => call<Measurement>('DELETE', v1(`/measurements/${of(id)}`)),

  metrics: () => call<string>('GET', '/metrics'),
};

/** Where a measurement's results are to be had as a file. */
export function exportPath(id: MeasurementId, format: 'ndjson' | 'json' | 'cbor'): string {
  const limit = format === 'ndjson' ? '' : '&limit=10000';
  return v1(`/measurements/${of(id)}/results?format=${format}${limit}`);
}

/** What an error says, for whoever looks. */
export function problem(error: unknown): Partial<Problem> & { title: string } {
  if (error instanceof ApiError) return error.problem;
  return { title: texts.errors.broken, detail: String((error as Error)?.message ?? error) };
}

