/** Puts the cases to a server: prepares what they need, sends their requests and compares. Effects. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { getPath, getString, isJsonArray, isJsonObject, type Json, objectsOf } from '../../store/json.ts';
import { readJsonLines } from '../json-lines.ts';
import type { Case, Need, Request, RequestStep, Step, Want, WatchStep } from './case.ts';
import { Check, differences, type Expected } from './expect.ts';
import type { Target } from './target.ts';
import { widgetDefinition } from './widget.ts';

const deadlineMs = 60_000;

type Names = Readonly<Record<string, string>>;

export interface Answer {
  readonly code: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

export class Session {
  readonly #target: Target;
  readonly #names: Names;
  #minor = 0;
  readonly #has = new Set<Need>();
  #count = 0;

  constructor(target: Target) {
    this.#target = target;
    const run = randomBytes(4).toString('hex');
    this.#names = { ns: `conformance-${run}`, group: `c${run}.conformance.holdfast.dev`, run };
  }

  /** Makes the suite's namespace and custom resource, and finds out what the server has. */
  async open(): Promise<void> {
    const version = await this.send({ method: 'GET', path: '/version' }, this.#names);
    this.#minor = this.#target.minor ?? Number.parseInt(String(getPath(parse(version), ['minor'])), 10);
    assert.ok(this.#minor > 0, `GET /version: ${version.text.slice(0, 200)}`);
    const { ns } = this.#names;
    const namespace = { method: 'POST', path: '/api/v1/namespaces', body: { metadata: { name: ns ?? '' } } };
    const made = await this.send(namespace, this.#names);
    assert.equal(made.code, 201, `the namespace of the suite could not be made: ${made.text.slice(0, 500)}`);
    const crd = {
      method: 'POST',
      path: '/apis/apiextensions.k8s.io/v1/customresourcedefinitions',
      body: widgetDefinition,
    };
    const defined = await this.send(crd, this.#names);
    if (defined.code === 201) {
      this.#has.add('widgets');
      await this.#eventually({ method: 'GET', path: '/apis/{group}/v1/namespaces/{ns}/widgets' }, { code: 200 });
      await this.#eventually({ method: 'GET', path: '/apis/{group}/v1' }, { code: 200 });
    } else assert.equal(defined.code, 404, `the widgets could not be defined: ${defined.text.slice(0, 500)}`);
    const query = 'watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true';
    const path = `/api/v1/namespaces/{ns}/configmaps?${query}&timeoutSeconds=1`;
    if ((await this.send({ method: 'GET', path }, this.#names)).code === 200) this.#has.add('watchList');
    const first = '/api/v1/namespaces/{ns}/configmaps?resourceVersion=1&resourceVersionMatch=Exact';
    if ((await this.send({ method: 'GET', path: first }, this.#names)).code === 410) this.#has.add('compacted');
  }

  /** Removes what the suite made, as far as the server lets it. */
  async close(): Promise<void> {
    const { ns, group } = this.#names;
    const namespace = `/api/v1/namespaces/${ns}`;
    for (const kind of ['configmaps', 'secrets', 'events']) {
      await this.send({ method: 'DELETE', path: `${namespace}/${kind}` }, {});
    }
    if (this.#has.has('widgets')) {
      await this.send({ method: 'DELETE', path: `/apis/${group}/v1/namespaces/${ns}/widgets` }, {});
      const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
      const items = getPath(parse(await this.send({ method: 'GET', path: definitions }, {})), ['items']);
      const ours = objectsOf(items).filter((item) => getString(item, 'spec', 'group') === group);
      for (const item of ours) {
        await this.send({ method: 'DELETE', path: `${definitions}/${getString(item, 'metadata', 'name')}` }, {});
      }
    }
    await this.send({ method: 'DELETE', path: namespace }, {});
    await this.#target.close();
  }

  /** Why this server is not asked, or undefined. */
  reasonToLeaveOut({ since = 0, needs }: Case): string | undefined {
    if (since > this.#minor) return `true from Kubernetes 1.${since} on`;
    return needs === undefined || this.#has.has(needs) ? undefined : `needs ${needs}`;
  }

  get isOwn(): boolean {
    return this.#target.isOwn;
  }

  async run({ steps }: Case): Promise<void> {
    let names: Names = { ...this.#names, n: `c${++this.#count}` };
    for (const step of steps) names = { ...names, ...(await this.#step(step, names)) };
  }

  async #step(step: Step, names: Names): Promise<Names> {
    return step.kind === 'request' ? this.#request(step, names) : this.#watch(step, names);
  }

  async #request(step: RequestStep, names: Names): Promise<Names> {
    const begun = Date.now();
    for (;;) {
      const answer = await this.send(step, names);
      const wrong = compare(answer, step.want, names);
      if (wrong.length === 0) return saved(step, answer, names);
      const title = `${step.method} ${fill(step.path, names)}`;
      const told = `${title}:\n  ${wrong.join('\n  ')}\n  the answer was ${answer.code}: ${answer.text.slice(0, 800)}`;
      if (step.eventually !== true || Date.now() - begun > deadlineMs) assert.fail(told);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  async #eventually(request: Request, want: Want): Promise<void> {
    await this.#request({ kind: 'request', ...request, want, eventually: true }, this.#names);
  }

  async #watch(step: WatchStep, names: Names): Promise<Names> {
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(new Error('the watch brought too little in a minute')), deadlineMs);
    const path = fill(step.path, names);
    const seen: Json[] = [];
    let known = names;
    try {
      const headers = fillAll(step.headers ?? {}, names);
      const options = { method: 'GET', path, headers, body: undefined, as: 'administrator' } as const;
      const { statusCode, body } = await this.#target.call({ ...options, signal: stop.signal });
      assert.equal(statusCode, 200, `${path} is answered with ${statusCode}`);
      const lines = readJsonLines<Json>(body)[Symbol.asyncIterator]();
      for (const request of step.during) known = { ...known, ...(await this.#request(request, known)) };
      for (const { type, object } of step.events) {
        const { value, done } = await lines.next();
        if (done === true) assert.fail(`the watch ended before ${type}; it brought ${JSON.stringify(seen)}`);
        seen.push(value);
        const wrong = differences(fillExpected({ type, object }, known), value);
        assert.deepEqual(wrong, [], `${path}: the watch brought ${JSON.stringify(seen)}`);
      }
      if (step.ends === true) {
        const { done, value } = await lines.next();
        assert.ok(done, `${path}: the watch should have ended, and brought ${JSON.stringify(value)}`);
      }
      return known;
    } finally {
      clearTimeout(timer);
      stop.abort();
    }
  }

  async send(request: Request, names: Names): Promise<Answer> {
    const { method, path, headers = {}, body } = request;
    const text = typeof body === 'string' ? fill(body, names) : body && fillText(body, names);
    const { 'x-anonymous': anonymous, ...rest } = fillAll(headers, names);
    const response = await this.#target.call({
      method,
      path: fill(path, names),
      headers: { ...(text === undefined ? {} : { 'content-type': 'application/json' }), ...rest },
      body: text === undefined || text === null ? undefined : String(text),
      as: anonymous === undefined ? 'administrator' : 'anonymous',
      signal: AbortSignal.timeout(deadlineMs),
    });
    return { code: response.statusCode, headers: response.headers, text: await response.body.text() };
  }
}

const name = /\{(\w+)\}/gu;

function fill(text: string, names: Names): string {
  return text.replaceAll(name, (whole, key: string) => names[key] ?? whole);
}

function fillText(body: Json, names: Names): string {
  return fill(JSON.stringify(body), names);
}

function fillAll(headers: Readonly<Record<string, string>>, names: Names): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([key, value]) => [key, fill(value, names)]));
}

function fillExpected(expected: Expected | undefined, names: Names): Expected | undefined {
  if (typeof expected === 'string') return fill(expected, names);
  if (Array.isArray(expected)) return expected.map((item) => fillExpected(item, names) ?? null);
  if (typeof expected !== 'object' || expected === null) return expected;
  if (expected instanceof Check) return expected.filled((part) => fillExpected(part, names) ?? null);
  if (expected instanceof RegExp) return expected;
  return Object.fromEntries(
    Object.entries(expected).map(([key, value]) => [fill(key, names), fillExpected(value, names)]),
  );
}

function parse({ text }: Answer): Json | undefined {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // what is compared with it tells that there was no JSON
  }
}

function compare(answer: Answer, want: Want, names: Names): readonly string[] {
  const codes = typeof want.code === 'number' ? [want.code] : want.code;
  if (!codes.includes(answer.code)) return [`expected the code ${codes.join(' or ')}, got ${answer.code}`];
  const body = parse(answer);
  const status = want.reason === undefined ? [] : differences(statusOf(want, answer.code), body);
  const causes = getPath(body, ['details', 'causes']);
  const missing = (want.causes ?? []).filter(([field, reason]) => {
    const wanted = { field: fill(field, names), reason };
    return !isJsonArray(causes) || causes.every((cause) => differences(wanted, cause).length > 0);
  });
  const headers = Object.entries(want.headers ?? {}).filter(([key, pattern]) => {
    const value = answer.headers[key];
    return pattern === undefined ? value !== undefined : value === undefined || !pattern.test(String(value));
  });
  return [
    ...status,
    ...missing.map(([field, reason]) => `no cause ${reason} for ${field}`),
    ...(want.body === undefined ? [] : differences(fillExpected(want.body, names), body)),
    ...(want.text === undefined || want.text.test(answer.text) ? [] : [`expected a body like ${want.text}`]),
    ...headers.map(([key, pattern]) => `header ${key}: expected ${pattern}, got ${answer.headers[key]}`),
  ];
}

function statusOf({ reason, message }: Want, code: number): Expected {
  const failure = { kind: 'Status', apiVersion: 'v1', status: 'Failure', code };
  return { ...failure, ...(reason === undefined ? {} : { reason }), message: message ?? /./u };
}

function saved({ save = {} }: RequestStep, answer: Answer, names: Names): Names {
  const body = parse(answer);
  const values = Object.entries(save).map(([key, path]) => {
    if (path.startsWith('header ')) return [key, String(answer.headers[path.slice('header '.length)])] as const;
    const value = path.split('.').reduce<Json | undefined>((at, part) => {
      return isJsonArray(at) ? at[Number(part)] : isJsonObject(at) ? at[fill(part, names)] : undefined;
    }, body);
    assert.ok(value !== undefined, `the answer has no ${path}: ${answer.text.slice(0, 300)}`);
    return [key, String(value)] as const;
  });
  return Object.fromEntries(values);
}
