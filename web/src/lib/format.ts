// Numbers and times as people read them. Units are always there; what is absent is shown as absent.

import { texts } from '../texts';

const ABSENT = texts.absent;

function digits(value: number): string {
  const size = Math.abs(value);
  return value.toFixed(size >= 100 || Number.isInteger(value) ? 0 : size >= 10 ? 1 : 2);
}

/** Nanoseconds in the unit that keeps the number short. */
export function duration(ns: number | null | undefined): string {
  if (ns === null || ns === undefined) return ABSENT;
  const size = Math.abs(ns);
  if (size < 1e3) return `${digits(ns)} ns`;
  if (size < 1e6) return `${digits(ns / 1e3)} µs`;
  if (size < 1e9) return `${digits(ns / 1e6)} ms`;
  if (size < 120e9) return `${digits(ns / 1e9)} s`;
  if (size < 7200e9) return `${digits(ns / 60e9)} min`;
  if (size < 172_800e9) return `${digits(ns / 3600e9)} h`;
  return `${digits(ns / 86_400e9)} d`;
}

export function bytes(count: number | null | undefined): string {
  if (count === null || count === undefined) return ABSENT;
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = count;
  let unit = 0;
  while (Math.abs(value) >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${digits(value)} ${units[unit]}`;
}

const grouped = new Intl.NumberFormat('en', { maximumFractionDigits: 2 });

export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? ABSENT : grouped.format(value);
}

export function ratio(value: number | null | undefined): string {
  return value === null || value === undefined ? ABSENT : `${digits(value * 100)} %`;
}

export function perSecond(value: number | null | undefined): string {
  return value === null || value === undefined ? ABSENT : `${digits(value)} /s`;
}

/** A number of a kind's summary, by its unit (`ns`, `1`, `ratio`, `bytes`, …). */
export function quantity(value: number | null | undefined, unit: string): string {
  if (value === null || value === undefined) return ABSENT;
  switch (unit) {
    case 'ns':
      return duration(value);
    case 'bytes':
      return bytes(value);
    case 'ratio':
      return ratio(value);
    case '1':
      return count(value);
    default:
      return `${count(value)} ${unit}`;
  }
}

/** An instant (RFC 3339) in milliseconds since 1970; absent when it is none. */
export function instant(text: string | null | undefined): number | undefined {
  if (!text) return undefined;
  const ms = Date.parse(text.replace(/(\.\d{3})\d+/, '$1'));
  return Number.isNaN(ms) ? undefined : ms;
}

const pad = (value: number) => String(value).padStart(2, '0');

/** In the zone of whoever looks. Tables have hundreds of them: it is not left to formatters, which are slow. */
export function local(text: string | null | undefined, now: number): string {
  const ms = instant(text);
  if (ms === undefined) return ABSENT;
  const date = new Date(ms);
  const time = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
  const day = (of: Date) => `${of.getFullYear()}-${pad(of.getMonth() + 1)}-${pad(of.getDate())}`;
  return day(date) === day(new Date(now)) ? time : `${day(date)} ${time}`;
}

export function utc(text: string | null | undefined): string {
  const ms = instant(text);
  return ms === undefined ? ABSENT : `${new Date(ms).toISOString().replace('T', ' ').replace('Z', '')} UTC`;
}

export function ago(text: string | null | undefined, now: number): string {
  const ms = instant(text);
  if (ms === undefined) return ABSENT;
  const s = Math.max(0, Math.round((now - ms) / 1000));
  if (s < 2) return texts.time.now;
  return `${duration(s * 1e9)} ${texts.time.ago}`;
}

/** An input of a task as a line. */
export function input(value: unknown): string {
  if (value === null || value === undefined) return texts.absent;
  if (typeof value === 'string') return value;
  if (Array.isArray(value)) return value.join(' ');
  const peer = (value as { vp?: string }).vp;
  return peer ?? JSON.stringify(value);
}
