import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { fieldsOf, read, readAll, type Field } from './schema';

const kinds = new URL('../../../contract/v1/kinds/', import.meta.url);
const schemas = readdirSync(kinds).map((file) => {
  const { kind } = JSON.parse(readFileSync(new URL(file, kinds), 'utf8')) as { kind: { name: string; params: object } };
  return [kind.name, kind.params] as const;
});
const ping = fieldsOf(Object.fromEntries(schemas)['ping']);
const field = (name: string): Field => ping.find((one) => one.name === name)!;

test.each(schemas)('%s: every parameter has a field with help, and its default can be read', (_, schema) => {
  const fields = fieldsOf(schema);
  expect(fields.map(({ name }) => name)).toEqual(Object.keys((schema as { properties: object }).properties));
  for (const one of fields) {
    expect(one.help).not.toBe('');
    expect(read(one, one.initial)).toEqual({});
    expect(one.shape.is).not.toBe('json');
  }
});

test('what is typed is judged by the schema', () => {
  expect(field('method').shape).toMatchObject({ is: 'choice' });
  expect(read(field('count'), '5')).toEqual({ value: 5 });
  expect(read(field('count'), '-1').error).toBe('at least 0');
  expect(read(field('count'), 'five').error).toContain('whole number');
  expect(read(field('ttl'), '300').error).toBe('within 0 to 255');
  expect(read(field('interval'), '500ms')).toEqual({ value: '500ms' });
  expect(read(field('interval'), 'PT1H')).toEqual({ value: 'PT1H' });
  expect(read(field('interval'), '5').error).toContain('unit');
  expect(read(field('method'), 'smoke').error).toContain('icmp');
  expect(read(field('df'), 'true')).toEqual({ value: true });
  expect(read(field('source'), '<b>')).toEqual({ value: '<b>' });
});

test('a schema that nobody knew has a form', () => {
  const fields = fieldsOf({
    type: 'object',
    required: ['server'],
    properties: {
      server: { type: 'string', description: 'Whom.' },
      edns: { $ref: '#/$defs/Edns' },
      tags: { type: 'array', items: { type: 'string' } },
      odd: { anyOf: [{ type: 'string' }, { type: 'object' }] },
      self: { $ref: '#/properties/self' },
    },
    $defs: { Edns: { type: 'object', properties: { size: { type: ['integer', 'null'], maximum: 9, default: 4 } } } },
  });
  expect(fields.map(({ name, shape }) => [name, shape.is])).toEqual([
    ['server', 'text'], ['edns.size', 'integer'], ['tags', 'list'], ['odd', 'json'], ['self', 'json'],
  ]);
  const { params, errors, given } = readAll(fields, { 'edns.size': '8', tags: 'a, b', odd: '{"x": 1}' });
  expect(params).toEqual({ edns: { size: 8 }, tags: ['a', 'b'], odd: { x: 1 } });
  expect(errors).toEqual({ server: 'this is needed' });
  expect(given).toEqual([['edns.size', '8'], ['tags', 'a, b'], ['odd', '{"x": 1}']]);
  expect(readAll(fields, { odd: '{' }).errors['odd']).toContain('JSON');
  expect(fieldsOf(true)).toEqual([]);
});
