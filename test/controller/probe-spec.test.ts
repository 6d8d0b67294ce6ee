import assert from 'node:assert/strict';
import { type HealthPlan, parseHealth, parseKeptAction } from '../../controller/probe-spec.ts';
import type { ContainerSpec } from '../../crds/index.ts';
import { spec } from './fixtures.ts';

const times = {
  initialDelaySeconds: 0,
  periodSeconds: 10,
  timeoutSeconds: 1,
  successThreshold: 1,
  failureThreshold: 3,
};
const httpGet = { path: '/', port: 80, scheme: 'HTTP' } as const;
const parse = (change: Partial<ContainerSpec>): ReturnType<typeof parseHealth> => parseHealth({ ...spec, ...change });
const web = { name: 'web', containerPort: 8080, protocol: 'TCP' } as const;

const cases: { it: string; given: Partial<ContainerSpec>; want: HealthPlan['liveness'] }[] = [
  {
    it: 'takes the times in milliseconds',
    given: {
      livenessProbe: {
        ...times,
        ...{ tcpSocket: { port: 80 }, initialDelaySeconds: 2, terminationGracePeriodSeconds: 4 },
      },
    },
    want: {
      action: { kind: 'tcp', host: undefined, port: 80 },
      ...{ initialDelayMs: 2_000, periodMs: 10_000, timeoutMs: 1_000, successThreshold: 1, failureThreshold: 3 },
      graceMs: 4_000,
    },
  },
];

const actions: { it: string; given: Partial<ContainerSpec>; want: unknown }[] = [
  {
    it: 'finds a port by its name',
    given: { ports: [web], livenessProbe: { ...times, tcpSocket: { port: 'web' } } },
    want: { kind: 'tcp', host: undefined, port: 8080 },
  },
  {
    it: 'takes a number that is written as text',
    given: { livenessProbe: { ...times, tcpSocket: { port: '81' } } },
    want: { kind: 'tcp', host: undefined, port: 81 },
  },
  {
    it: 'asks this host where the container has its network',
    given: { hostNetwork: true, livenessProbe: { ...times, tcpSocket: { port: 80 } } },
    want: { kind: 'tcp', host: '127.0.0.1', port: 80 },
  },
  {
    it: 'begins a path with a slash, and never takes one for a host',
    given: { livenessProbe: { ...times, httpGet: { ...httpGet, path: 'health?deep=1' } } },
    want: { kind: 'http', scheme: 'http', host: undefined, port: 80, path: '/health?deep=1', headers: [] },
  },
  {
    it: 'follows references to plain variables',
    given: {
      env: [{ name: 'FILE', value: '/tmp/ok' }],
      livenessProbe: { ...times, exec: { command: ['cat', '$(FILE)', '$(OTHER)'] } },
    },
    want: { kind: 'exec', command: ['cat', '/tmp/ok', '$(OTHER)'] },
  },
];

const problems: { given: Partial<ContainerSpec>; want: RegExp }[] = [
  { given: { livenessProbe: times }, want: /^spec\.livenessProbe: has none of exec, httpGet, tcpSocket; give exactly/ },
  {
    given: { startupProbe: { ...times, httpGet, tcpSocket: { port: 1 } } },
    want: /^spec\.startupProbe: has httpGet and tcpSocket of/,
  },
  {
    given: { readinessProbe: { ...times, exec: { command: [] } } },
    want: /^spec\.readinessProbe\.exec\.command: names/,
  },
  {
    given: { readinessProbe: { ...times, httpGet: { ...httpGet, port: 'nope' } } },
    want: /^spec\.readinessProbe\.httpGet\.port: "nope" is neither/,
  },
  {
    given: { livenessProbe: { ...times, tcpSocket: { port: 0 } } },
    want: /^spec\.livenessProbe\.tcpSocket\.port: 0 is/,
  },
  {
    given: { livenessProbe: { ...times, httpGet: { ...httpGet, host: 'a:b:c' } } },
    want: /^spec\.livenessProbe\.httpGet: host "a:b:c"/,
  },
  {
    given: { lifecycle: { preStop: { sleep: { seconds: 1 }, httpGet } } },
    want: /^spec\.lifecycle\.preStop: has httpGet/,
  },
];

describe('parseHealth', () => {
  for (const c of cases) it(c.it, () => assert.deepEqual(parse(c.given), { plan: planOf(c.want), problems: [] }));
  for (const c of actions)
    it(c.it, () => {
      const { plan, problems: found } = parse(c.given);
      assert.deepEqual([plan.liveness?.action, found], [c.want, []]);
    });
  for (const c of problems)
    it(`refuses what cannot be, by its field: ${c.want.source}`, () => {
      const found = parse(c.given).problems;
      assert.equal(found.length, 1);
      assert.match(found[0] ?? '', c.want);
    });
  it('takes an empty lifecycle for none', () => {
    const { plan, problems: found } = parse({ lifecycle: { postStart: {}, preStop: {} } });
    assert.deepEqual([plan.postStart, plan.preStop, found], [undefined, undefined, []]);
  });
});

describe('parseKeptAction', () => {
  it('gives back every hook as it was kept', () => {
    const hooks: Partial<ContainerSpec>['lifecycle'][] = [
      { preStop: { exec: { command: ['sync'] } } },
      { preStop: { sleep: { seconds: 3 } } },
      { preStop: { httpGet: { ...httpGet, httpHeaders: [{ name: 'Host', value: 'a' }] } } },
    ];
    for (const lifecycle of hooks) {
      const { preStop } = parse({ lifecycle }).plan;
      assert.ok(preStop !== undefined);
      // As JSON has it: members that are undefined are not there.
      const kept = JSON.stringify(preStop) ?? '';
      assert.deepEqual(JSON.parse(JSON.stringify(parseKeptAction(kept) ?? null)), JSON.parse(kept));
    }
  });
  it('takes anything else for none', () => {
    for (const text of [
      undefined,
      '',
      '{',
      'null',
      '[]',
      '{"kind":"exec"}',
      '{"kind":"exec","command":[1]}',
      '{"kind":"x"}',
    ])
      assert.equal(parseKeptAction(text), undefined, String(text));
  });
});

function planOf(liveness: HealthPlan['liveness']): HealthPlan {
  return { startup: undefined, liveness, readiness: undefined, postStart: undefined, preStop: undefined };
}
