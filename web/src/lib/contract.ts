// The generated types of the API. The page has no types of its own for what travels.

export type * from '../../../contract/v1/mmn';

/** A part of a list, and what to ask for the next. */
export type Page<T> = { items: T[]; next?: string | null };
// TEMPORARY until the contract has them.
export type Usage = { cpu_percent?: number | null; rss_bytes?: number | null; nats_received_bytes_per_s?: number | null; nats_sent_bytes_per_s?: number | null; interface_received_bytes_per_s?: number | null; interface_sent_bytes_per_s?: number | null; probe_sent_bytes_per_s?: number | null };
import type { Health, Ledger, Rollup as R0, RollupNumber as N0 } from '../../../contract/v1/mmn';
export type Process = { role: 'anchor' | 'nats-server' | 'node' | 'module'; module?: string | null; vp?: string | null; vp_name?: string | null; instances?: string[]; simulated?: boolean; health?: Health | null; usage: Usage };
export type PublicMeasurement = { id: string; kind: string; label?: string | null; state: 'open' | 'running' | 'done' | 'cancelled'; accepted_at: string; done_at?: string | null; vps: number; ledger: Ledger };
export type NetworkStatus = { at: string; since: string; public_page: boolean; processes: Process[]; processes_left_out: number; vps: Record<string, number>; instances: Record<string, number>; countries: number; ases: number; kinds: { kind: string; vps: number; results_per_s?: number | null }[]; measurements_total: number; measurements_open: number; ledger: Ledger; results_per_s?: number | null; public: PublicMeasurement[] };
export type AvailabilitySlice = { up_s: number; degraded_s: number; lost_s: number; stopped_s: number };
export type Availability = { vp: string; start: string; slice_ns: number; slices: AvailabilitySlice[] };
export type RollupNumber = N0 & { quantiles?: number[] };
export type Rollup = Omit<R0, 'numbers'> & { numbers: Record<string, RollupNumber> };
