// From the JSON Schema of a kind's parameters to the fields of a form, and from what is typed to values. The fields are those
// that the command line makes of the same schema (`crates/cli/src/params.rs`), so that a form and a command say the same. Pure.

import { texts } from '../texts';

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
type Schema = { [name: string]: Json };

export type Choice = { value: string; help: string };
export type Shape =
  | { is: 'text' | 'duration' | 'real' | 'flag' | 'json' }
  | { is: 'integer'; min?: number; max?: number }
  | { is: 'choice'; choices: Choice[] }
  | { is: 'list'; item: Shape };

export type Field = {
  /** The dotted path: `edns.bufsize`. */
  name: string;
  path: string[];
  shape: Shape;
  help: string;
  /** As one would type it; empty where there is none. */
  initial: string;
  required: boolean;
};

const DEPTH = 3;
const words = texts.fields;

export function fieldsOf(schema: unknown): Field[] {
  if (!isObject(schema)) return [];
  const fields: Field[] = [];
  collect(schema, schema, [], fields);
  return fields;
}

function collect(root: Schema, schema: Schema, path: string[], fields: Field[]): void {
  const plainly = plain(root, schema);
  const required = Array.isArray(plainly['required']) ? plainly['required'] : [];
  for (const [name, property] of Object.entries(properties(plainly))) {
    if (!isObject(property)) continue;
    const here = [...path, name];
    const meant = plain(root, property);
    if (Object.keys(properties(meant)).length > 0 && here.length < DEPTH) {
      collect(root, meant, here, fields);
      continue;
    }
    fields.push({
      name: here.join('.'),
      path: here,
      shape: shapeOf(root, meant),
      help: helpOf(property) || helpOf(meant),
      initial: typed(property['default'] ?? meant['default']),
      required: required.includes(name),
    });
  }
}

/** Reads what was typed; `undefined` stands for a field that was left alone. */
export function read(field: Field, text: string): { value?: Json; error?: string } {
  if (text.trim() === '' || text === field.initial) {
    return field.required && text.trim() === '' ? { error: words.required } : {};
  }
  return parse(field.shape, text.trim());
}

/** The parameters that the texts of a form mean, without those that are the default; and what is wrong, by field. */
export function readAll(
  fields: readonly Field[],
  typedIn: Readonly<Record<string, string>>,
): { params: { [name: string]: Json }; errors: Record<string, string>; given: [string, string][] } {
  const params: { [name: string]: Json } = {};
  const errors: Record<string, string> = {};
  const given: [string, string][] = [];
  for (const field of fields) {
    const text = typedIn[field.name] ?? field.initial;
    const { value, error } = read(field, text);
    if (error) errors[field.name] = error;
    else if (value !== undefined) {
      place(params, field.path, value);
      given.push([field.name, text.trim()]);
    }
  }
  return { params, errors, given };
}

function place(object: { [name: string]: Json }, path: readonly string[], value: Json): void {
  const [first, ...rest] = path;
  if (first === undefined) return;
  if (rest.length === 0) {
    object[first] = value;
    return;
  }
  const inner = object[first];
  const next = isObject(inner) ? inner : {};
  object[first] = next;
  place(next, rest, value);
}

function parse(shape: Shape, text: string): { value?: Json; error?: string } {
  switch (shape.is) {
    case 'text':
      return { value: text };
    case 'duration':
      return DURATION.test(text) ? { value: text } : { error: words.duration };
    case 'integer': {
      if (!/^[+-]?\d+$/.test(text)) return { error: words.integer };
      const value = Number(text);
      if (!Number.isSafeInteger(value)) return { error: words.tooLarge };
      const low = shape.min !== undefined && value < shape.min;
      const high = shape.max !== undefined && value > shape.max;
      return low || high ? { error: words.range(shape.min, shape.max) } : { value };
    }
    case 'real': {
      const value = Number(text);
      return Number.isFinite(value) ? { value } : { error: words.number };
    }
    case 'flag':
      return text === 'true' || text === 'false' ? { value: text === 'true' } : { error: words.flag };
    case 'choice':
      return shape.choices.some(({ value }) => value === text)
        ? { value: text }
        : { error: words.choice(shape.choices.map(({ value }) => value)) };
    case 'list': {
      if (text.startsWith('[')) return parse({ is: 'json' }, text);
      const items = text.split(',').map((one) => parse(shape.item, one.trim()));
      const wrong = items.find(({ error }) => error)?.error;
      return wrong ? { error: wrong } : { value: items.map(({ value }) => value ?? null) };
    }
    case 'json':
      try {
        return { value: JSON.parse(text) as Json };
      } catch (error) {
        return /^[{["]/.test(text) ? { error: words.json(String((error as Error).message)) } : { value: text };
      }
  }
}

/** `500ms`, `1m 30s`, `PT1H`: what the anchor reads, as far as a form can tell. */
const DURATION = /^(?:\+?(?:\d+(?:\.\d+)?\s*(?:[a-zµ]+)[\s,]*)+|PT?(?:\d+(?:\.\d+)?[HMS])+)$/i;

export function isDuration(text: string): boolean {
  return DURATION.test(text.trim());
}

function plain(root: Schema, schema: Schema): Schema {
  let here = schema;
  // References that lead in a circle end here.
  for (let step = 0; step < 16; step += 1) {
    const target = here['$ref'];
    if (typeof target === 'string') {
      const found = pointer(root, target);
      if (!found) return here;
      here = found;
      continue;
    }
    const only = ['anyOf', 'oneOf', 'allOf'].map((word) => others(here[word])).find((list) => list?.length === 1);
    if (!only) return here;
    here = only[0]!;
  }
  return here;
}

function others(list: Json | undefined): Schema[] | undefined {
  return Array.isArray(list) ? list.filter(isObject).filter((one) => one['type'] !== 'null') : undefined;
}

function pointer(root: Schema, target: string): Schema | undefined {
  if (!target.startsWith('#/')) return undefined;
  let here: Json | undefined = root;
  for (const step of target.slice(2).split('/')) {
    here = isObject(here) ? here[step.replace(/~1/g, '/').replace(/~0/g, '~')] : undefined;
  }
  return isObject(here) ? here : undefined;
}

function shapeOf(root: Schema, schema: Schema): Shape {
  const choices = choicesOf(schema);
  if (choices) return { is: 'choice', choices };
  switch (typeOf(schema)) {
    case 'integer': {
      const { minimum, maximum } = schema;
      return {
        is: 'integer',
        ...(typeof minimum === 'number' ? { min: minimum } : {}),
        ...(typeof maximum === 'number' ? { max: maximum } : {}),
      };
    }
    case 'number':
      return { is: 'real' };
    case 'boolean':
      return { is: 'flag' };
    case 'string':
      return { is: schema['format'] === 'duration-text' ? 'duration' : 'text' };
    case 'array': {
      const items = schema['items'];
      const item: Shape = isObject(items) ? shapeOf(root, plain(root, items)) : { is: 'json' };
      return item.is === 'json' || item.is === 'list' ? { is: 'json' } : { is: 'list', item };
    }
    default:
      return { is: 'json' };
  }
}

function typeOf(schema: Schema): string | undefined {
  const type = schema['type'];
  if (typeof type === 'string') return type;
  if (!Array.isArray(type)) return undefined;
  const names = type.filter((name) => name !== 'null');
  return names.length === 1 && typeof names[0] === 'string' ? names[0] : undefined;
}

/** The texts of an enumeration: `enum`, or constants of `oneOf`, which have help of their own. */
function choicesOf(schema: Schema): Choice[] | undefined {
  const help = helpOf(schema);
  if (Array.isArray(schema['enum'])) {
    const values = schema['enum'].filter((value) => value !== null);
    return values.every((value) => typeof value === 'string')
      ? (values as string[]).map((value) => ({ value, help: '' }))
      : undefined;
  }
  if (typeof schema['const'] === 'string') return [{ value: schema['const'], help }];
  const variants = others(schema['oneOf'] ?? schema['anyOf']);
  if (!variants || variants.length === 0) return undefined;
  const each = variants.map(choicesOf);
  return each.every((one) => one !== undefined) ? each.flat() : undefined;
}

/** The first paragraph of a description. */
function helpOf(schema: Schema): string {
  const text = schema['description'];
  return typeof text === 'string' ? text.split('\n\n')[0]!.replace(/\n/g, ' ').trim() : '';
}

function typed(value: Json | undefined): string {
  if (value === undefined || value === null) return '';
  if (Array.isArray(value) && value.length === 0) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function properties(schema: Schema): { [name: string]: Json } {
  return isObject(schema['properties']) ? schema['properties'] : {};
}

function isObject(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
