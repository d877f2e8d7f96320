import { expect, test } from 'vitest';
import { byField, EMPTY, formOf, inputsOf, make } from './request';
import { fieldsOf } from './schema';
import { curl, python, quoted, shell } from './snippets';

const fields = fieldsOf({ type: 'object', properties: { count: { type: 'integer', default: 3 } } });

test('a form becomes a request without what is the default', () => {
  const form = { ...EMPTY, kind: 'ping', targets: '192.0.2.1\n# no\n2001:db8::1, a.example\n', from: ' all ', values: { count: '3' } };
  const { request, errors } = make(form, { input: 'target' }, fields);
  expect(request).toEqual({ kind: 'ping', inputs: ['192.0.2.1', '2001:db8::1', 'a.example'], from: 'all' });
  expect(errors).toEqual({});
  expect(make({ ...form, targets: '', deadline: '3' }, { input: 'target' }, fields).errors).toHaveProperty('inputs');
  expect(make({ ...form, targets: '', deadline: '3' }, { input: 'nothing' }, fields).errors).toHaveProperty('deadline');
});

test('inputs have the shape of their kind', () => {
  expect(inputsOf('a b\nc', 'targets')).toEqual([['a', 'b'], ['c']]);
  expect(inputsOf('a', 'peer')).toEqual([{ vp: 'a' }]);
  expect(inputsOf('a', 'nothing')).toEqual([]);
});

test('pointers lead to fields', () => {
  const problem = { title: 'x', errors: [{ pointer: '/params/edns/size', detail: 'too large' }, { pointer: '/inputs/3', detail: 'no' }] };
  expect(byField(problem)).toEqual({ 'edns.size': 'too large', inputs: 'no' });
  expect(byField({ title: 'Broken' })).toEqual({ '': 'Broken' });
});

test('a former request fills the form', () => {
  const form = formOf({ kind: 'dns', params: { edns: { size: 8 }, type: 'MX' }, from: 'all', label: null, inputs: ['a.example', { vp: 'x' }], total: 5 });
  expect(form).toMatchObject({ kind: 'dns', targets: 'a.example\nx', from: 'all', values: { 'edns.size': '8', type: 'MX' }, left: 3 });
});

test('snippets quote what a shell would take apart', () => {
  const request = { kind: 'ping', inputs: ["a'; rm -rf $(x)"], from: '3 of (all)' };
  expect(quoted("it's")).toBe(String.raw`'it'\''s'`);
  expect(shell(request, [['count', '5']])).toBe(String.raw`mmn run ping 'a'\''; rm -rf $(x)' --from '3 of (all)' --set count=5`);
  expect(curl(request, 'http://h')).toContain(String.raw`'{"kind":"ping","inputs":["a'\''; rm`);
  expect(python(request, 'http://h')).toContain(String.raw`json.loads("{\"kind\":\"ping\"`);
});
