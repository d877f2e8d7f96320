// From what stands in the form to the request, and from a problem's pointers back to the fields. Pure.

import type { Input, InputShape, KindInfo, MeasurementRequest, Problem } from './contract';
import { isDuration, readAll, type Field, type Json } from './schema';
import { texts } from '../texts';

export type Form = {
  kind: string;
  targets: string;
  from: string;
  values: Record<string, string>;
  deadline: string;
  label: string;
  isPublic: boolean;
  /** So many targets of a former request did not fit. */
  left?: number;
};

export const EMPTY: Form = { kind: '', targets: '', from: '', values: {}, deadline: '', label: '', isPublic: false };

/** A request that was made from a form, or what is wrong with the form, by field. */
export type Made = { request: MeasurementRequest; errors: Record<string, string>; given: [string, string][] };

export function make(form: Form, info: Pick<KindInfo, 'input'>, fields: readonly Field[]): Made {
  const { params, errors, given } = readAll(fields, form.values);
  const inputs = inputsOf(form.targets, info.input);
  if (info.input !== 'nothing' && inputs.length === 0) errors['inputs'] = texts.make.needTargets;
  if (form.deadline.trim() !== '' && !isDuration(form.deadline)) errors['deadline'] = texts.fields.duration;
  const request: MeasurementRequest = {
    kind: form.kind,
    ...(inputs.length > 0 ? { inputs } : {}),
    ...(Object.keys(params).length > 0 ? { params } : {}),
    ...(form.from.trim() ? { from: form.from.trim() } : {}),
    ...(form.deadline.trim() ? { deadline: form.deadline.trim() } : {}),
    ...(form.label.trim() ? { label: form.label.trim() } : {}),
    ...(form.isPublic ? { visibility: 'public' as const } : {}),
  };
  return { request, errors, given };
}

export function inputsOf(text: string, shape: InputShape): Input[] {
  if (shape === 'nothing') return [];
  const lines = text.split('\n').map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'));
  if (shape === 'targets') return lines.map((line) => line.split(/[\s,]+/));
  const each = lines.flatMap((line) => line.split(/[\s,]+/)).filter(Boolean);
  return shape === 'peer' ? each.map((vp) => ({ vp })) : each;
}

/** What an anchor found wrong, by field; what belongs to none of them is under the empty name. */
export function byField(problem: Partial<Problem> & { title: string }): Record<string, string> {
  const found: Record<string, string> = {};
  for (const { pointer, detail } of problem.errors ?? []) {
    const [first, ...rest] = pointer.split('/').slice(1);
    const name = first === 'params' ? rest.join('.') : (first ?? '');
    found[name] ??= detail;
  }
  if (Object.keys(found).length === 0) found[''] = problem.detail ?? problem.title;
  return found;
}

/** The form that a former request came from. */
export function formOf(request: { kind: string; params: unknown; from: unknown; label: string | null | undefined; inputs: readonly Input[]; total: number }): Form {
  const values: Record<string, string> = {};
  flatten(request.params, [], values);
  const line = (input: Input) =>
    typeof input === 'string' ? input : Array.isArray(input) ? input.join(' ') : (input?.vp ?? '');
  return {
    ...EMPTY,
    kind: request.kind,
    targets: request.inputs.map(line).join('\n'),
    from: typeof request.from === 'string' ? request.from : '',
    values,
    label: request.label ?? '',
    left: request.total - request.inputs.length,
  };
}

function flatten(value: unknown, path: string[], out: Record<string, string>): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    if (path.length > 0 && value !== null) out[path.join('.')] = typeof value === 'string' ? value : JSON.stringify(value);
    return;
  }
  for (const [name, inner] of Object.entries(value as Record<string, Json>)) flatten(inner, [...path, name], out);
}

const KEY = 'mmn.again';

/** Keeps a form for the next page, which takes it once; of more targets than a browser keeps, as many as it does. */
export function keep(form: Form): void {
  for (let kept = form; ; ) {
    try {
      return sessionStorage.setItem(KEY, JSON.stringify(kept));
    } catch (error) {
      const lines = kept.targets.split('\n');
      const half = lines.length >> 1;
      if (half === 0) throw error;
      kept = { ...kept, targets: lines.slice(0, half).join('\n'), left: (kept.left ?? 0) + lines.length - half };
    }
  }
}

export function kept(): Form | undefined {
  const text = sessionStorage.getItem(KEY);
  sessionStorage.removeItem(KEY);
  return text === null ? undefined : (JSON.parse(text) as Form);
}
