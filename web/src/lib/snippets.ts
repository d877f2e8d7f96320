// The same request as a line for a shell, for curl, and in Python. Pure.

import type { MeasurementRequest } from './contract';

/** A word as a POSIX shell takes it, whatever is in it. */
export function quoted(word: string): string {
  return /^[A-Za-z0-9/._\-+:@%=,]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

/** `given` are the parameters as they were typed. */
export function shell(request: MeasurementRequest, given: readonly [string, string][]): string {
  const inputs = (request.inputs ?? []).filter((input) => typeof input === 'string');
  const words = ['mmn', 'run', request.kind, ...inputs];
  if (typeof request.from === 'string') words.push('--from', request.from);
  for (const [name, value] of given) words.push('--set', `${name}=${value}`);
  if (request.deadline) words.push('--deadline', request.deadline);
  if (request.label) words.push('--label', request.label);
  if (request.visibility === 'public') words.push('--public');
  return words.map(quoted).join(' ');
}

const TOKEN = '~/.local/share/mmn/creds/client.token';

export function curl(request: MeasurementRequest, origin: string): string {
  return [
    `curl -H "Authorization: Bearer $(cat ${TOKEN})" \\`,
    `    -H 'Content-Type: application/json' \\`,
    `    -d ${quoted(JSON.stringify(request))} \\`,
    `    '${origin}/api/v1/measurements?wait=30s'`,
  ].join('\n');
}

export function python(request: MeasurementRequest, origin: string): string {
  return [
    'import json, pathlib, urllib.request',
    '',
    `token = pathlib.Path("${TOKEN}").expanduser().read_text().strip()`,
    `request = json.loads(${pythonText(JSON.stringify(request))})`,
    'call = urllib.request.Request(',
    `    ${pythonText(`${origin}/api/v1/measurements?wait=30s`)},`,
    '    data=json.dumps(request).encode(),',
    '    headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},',
    ')',
    'measurement = json.load(urllib.request.urlopen(call))',
    'for result in measurement.get("results", []):',
    '    print(result["outcome"], result.get("vp_name"), result["input"], result.get("summary"))',
  ].join('\n');
}

/** JSON escapes are Python's too: a JSON text is a literal. */
function pythonText(text: string): string {
  return JSON.stringify(text);
}
