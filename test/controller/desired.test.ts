import assert from 'node:assert/strict';
import { hashOf, mutableHashOf, parseDesired } from '../../controller/desired.ts';
import type { ContainerSpec } from '../../crds/index.ts';
import { desired, object } from './fixtures.ts';

const broken: { it: string; spec: Partial<ContainerSpec>; says: RegExp }[] = [
  {
    it: 'an initial wait above the maximum',
    spec: { backoff: { initial: '2m', max: '60s', factor: 2, jitter: 0, resetAfter: '60s' } },
    says: /spec\.backoff\.initial: "2m" is more than spec\.backoff\.max "60s"/,
  },
  {
    it: 'a duration of a thousand years',
    spec: { backoff: { initial: '1s', max: '99999999h', factor: 2, jitter: 0, resetAfter: '60s' } },
    says: /spec\.backoff\.max: "99999999h"/,
  },
  {
    it: 'memory below the least',
    spec: { resources: { limits: { pids: 1, memory: '1Mi' } } },
    says: /spec\.resources\.limits\.memory: "1Mi" is less than the least, 4Mi/,
  },
  {
    it: 'no processor at all',
    spec: { resources: { limits: { pids: 1, cpu: 0 } } },
    says: /spec\.resources\.limits\.cpu: 0 is less/,
  },
  {
    it: 'a signal that does not exist',
    spec: { stopSignal: 'SIGNOPE' },
    says: /spec\.stopSignal: "SIGNOPE" is not a signal/,
  },
  {
    it: 'one host port twice',
    spec: {
      ports: [
        { containerPort: 80, hostPort: 8080, protocol: 'TCP' },
        { containerPort: 81, hostPort: 8080, protocol: 'TCP' },
      ],
    },
    says: /spec\.ports\[1\]\.hostPort: 8080\/tcp is published twice/,
  },
  {
    it: 'an address with a number over 255',
    spec: { ports: [{ containerPort: 80, hostPort: 1, hostIP: '1.2.3.256', protocol: 'TCP' }] },
    says: /spec\.ports\[0\]\.hostIP: "1\.2\.3\.256"/,
  },
  {
    it: 'one alias twice',
    spec: {
      links: [
        { name: 'a', alias: 'x' },
        { name: 'b', alias: 'X' },
      ],
    },
    says: /the alias "x" is given twice/,
  },
  {
    it: 'a log too small to hold a line',
    spec: { logging: { maxSize: '1k', maxFiles: 3 } },
    says: /spec\.logging\.maxSize: "1k" is less than the least, 4Ki/,
  },
];

describe('parseDesired', () => {
  for (const { it: what, spec, says } of broken) {
    it(`names the field and the fix for ${what}`, () => {
      const parsed = parseDesired(object({ spec }));
      assert.equal(parsed.problem?.reason, 'InvalidSpec');
      assert.match(parsed.problem?.message ?? '', says);
    });
  }
  it('allows one host port on TCP and UDP, and on two addresses', () => {
    const ports: ContainerSpec['ports'] = [
      { containerPort: 53, hostPort: 53, protocol: 'TCP' },
      { containerPort: 53, hostPort: 53, protocol: 'UDP' },
      { containerPort: 80, hostPort: 80, hostIP: '127.0.0.1', protocol: 'TCP' },
      { containerPort: 81, hostPort: 80, hostIP: '127.0.0.2', protocol: 'TCP' },
    ];
    assert.equal(desired({ spec: { ports } }).config.ports.length, 4);
  });
  it('leaves out ports that are not published', () => {
    assert.deepEqual(desired({ spec: { ports: [{ containerPort: 80, protocol: 'TCP' }] } }).config.ports, []);
  });
  it('turns quantities into plain numbers', () => {
    const { config, graceMs, restart } = desired({
      spec: { resources: { limits: { cpu: '250m', memory: '64Mi', pids: 10 } } },
    });
    assert.deepEqual([config.limits.cpuMillis, config.limits.memoryBytes, config.limits.pids], [250, 64 * 2 ** 20, 10]);
    assert.equal(graceMs, 30_000);
    assert.equal(restart.backoff.maxMs, 60_000);
  });
  it('depends on what it links to, each once', () => {
    assert.deepEqual(
      desired({
        spec: {
          links: [{ name: 'web' }],
          dependsOn: [
            { name: 'web', condition: 'Started', restartOn: 'Never' },
            { name: 'db', condition: 'Started', restartOn: 'Never' },
          ],
        },
      }).dependsOn,
      ['web', 'db'],
    );
  });
});

describe('specHash', () => {
  const hash = (spec: Partial<ContainerSpec>): string => desired({ spec }).specHash;
  const inPlace: Partial<ContainerSpec>[] = [
    { restartPolicy: 'Never' },
    { desiredState: 'Stopped' },
    { terminationGracePeriodSeconds: 1 },
    { resources: { limits: { pids: 7 } } },
    { logging: { maxSize: '1Mi', maxFiles: 9 } },
    { imagePullPolicy: 'Always' },
  ];
  for (const spec of inPlace)
    it(`stays the same with ${JSON.stringify(spec)}, which needs no new container`, () =>
      assert.equal(hash(spec), hash({})));
  const replacing: Partial<ContainerSpec>[] = [
    { image: 'web:2' },
    { platform: 'linux/arm64' },
    { command: ['x'] },
    { env: [{ name: 'A', value: '' }] },
    { envFrom: [{ configMapRef: { name: 'a' } }] },
    { args: ['x'] },
    { user: '1' },
    { links: [{ name: 'a' }] },
    { ports: [{ containerPort: 1, hostPort: 0, protocol: 'TCP' }] },
    { securityContext: { readOnlyRootFilesystem: true } },
  ];
  for (const spec of replacing) it(`changes with ${JSON.stringify(spec)}`, () => assert.notEqual(hash(spec), hash({})));
});

describe('specHash of an environment', () => {
  const hash = (env: ContainerSpec['env']): string => desired({ spec: { env } }).specHash;
  it('is the same for a value that is empty and one that is not given', () =>
    assert.equal(hash([{ name: 'A' }]), hash([{ name: 'A', value: '' }])));
  it('changes when a variable comes from elsewhere', () =>
    assert.notEqual(
      hash([{ name: 'A', valueFrom: { secretKeyRef: { name: 's', key: 'a' } } }]),
      hash([{ name: 'A', valueFrom: { secretKeyRef: { name: 's', key: 'b' } } }]),
    ));
});

describe('hashOf', () => {
  it('does not depend on the order of keys or on undefined members', () =>
    assert.equal(hashOf({ a: 1, b: [{ c: 2, d: undefined }] }), hashOf({ b: [{ c: 2 }], a: 1 })));
  it('is what earlier versions wrote on containers, which would all be replaced at an upgrade otherwise', () => {
    assert.equal(
      hashOf({ b: [1, 'x', null, undefined, true], 10: 'ten', 9: { ü: '"', a: undefined }, a: [] }),
      '5591eee911970bf4',
    );
    const spec: Partial<ContainerSpec> = {
      env: [{ name: 'A', value: 'b' }],
      command: ['sh'],
      links: [{ name: 'db' }],
      ports: [{ containerPort: 80, hostPort: 8080, protocol: 'TCP' }],
      user: '1',
      platform: 'linux/arm64',
      envFrom: [{ configMapRef: { name: 'a' } }],
      args: ['x'],
      workingDir: '/w',
      shmSize: '1Mi',
      hostPID: true,
      init: true,
      securityContext: { readOnlyRootFilesystem: true, sysctls: [{ name: 'net.core.somaxconn', value: '1024' }] },
    };
    assert.equal(desired({ spec }).specHash, 'b17b80da3ae27dc3');
    const mutable = {
      ...{ hosts: [], env: [], entrypoint: undefined, cmd: undefined, limits: { pids: 4_096 } },
      ...{ log: { maxSizeBytes: 10_485_760, maxFiles: 3 }, dnsNames: [], dns: undefined, networks: undefined },
      ...{ isDualStack: undefined, files: undefined, keepsImageVolumes: false },
    };
    assert.equal(mutableHashOf(desired(), mutable), 'ab99e9baa4527abd');
  });
});

describe('standard streams in a spec', () => {
  it('are handed on, and a change replaces the container', () => {
    const { config, specHash } = desired({ spec: { stdin: true, stdinOnce: true, tty: true } });
    const { hasStdin, isStdinOnce, hasTerminal } = config;
    assert.deepEqual({ hasStdin, isStdinOnce, hasTerminal }, { hasStdin: true, isStdinOnce: true, hasTerminal: true });
    assert.notEqual(desired({ spec: { stdin: true, stdinOnce: true } }).specHash, specHash);
  });
});
