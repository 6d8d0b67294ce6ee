import assert from 'node:assert/strict';
import { type CreateContext, parseCreateRequest, parseRestartPolicy } from '../../docker/create-request.ts';
import { dockerConfigOf } from '../../docker/docker-config.ts';
import { DockerError } from '../../docker/docker-error.ts';
import { readFields } from '../../docker/fields.ts';
import { healthOf } from '../../docker/healthcheck.ts';
import { commandOf, formatInspect } from '../../docker/inspect.ts';
import { object, spec } from '../controller/fixtures.ts';

const context: CreateContext = {
  name: 'web_1',
  image: 'nginx:1',
  imageCommand: ['nginx'],
  imageEnv: ['PATH=/bin', 'LANG=C'],
  platform: undefined,
  nowMs: Date.parse('2026-11-24T12:00:00Z'),
  linkTarget: (reference) => reference.replace(/^\//, ''),
  parts: () => ({ spec: {}, links: [] }),
};
type Draft = ReturnType<typeof parseCreateRequest>;
const parse = (config: object, host: object = {}, more: Partial<CreateContext> = {}): Draft =>
  parseCreateRequest({ Image: 'nginx:1', ...config, HostConfig: host }, { ...context, ...more });

describe('a create request', () => {
  it('becomes an object that is not to run yet, under a name that Kubernetes takes', () => {
    const { metadata, spec: draft } = parse({});
    assert.match(metadata.name, /^web-1-[0-9a-f]{8}$/);
    assert.equal(metadata.annotations['holdfast.dev/docker-name'], 'web_1');
    assert.equal(draft.desiredState, 'Stopped');
    assert.equal(draft.restartPolicy, 'Never');
    assert.equal(draft.terminationGracePeriodSeconds, 10);
    assert.deepEqual(draft.imageVolumes, { reclaimPolicy: 'Retain' });
  });

  const rows: { it: string; config?: object; host?: object; want: Partial<Draft['spec']> }[] = [
    {
      it: 'runs what is asked for in place of the command',
      config: { Cmd: ['echo', '$(HOME)'] },
      want: { command: undefined, args: ['echo', '$$(HOME)'] },
    },
    { it: 'takes a command that is one text', config: { Cmd: 'date' }, want: { args: ['date'] } },
    {
      it: 'replaces the entrypoint',
      config: { Entrypoint: ['cat'], Cmd: ['/x'] },
      want: { command: ['cat'], args: ['/x'] },
    },
    {
      it: "takes the image's entrypoint away",
      config: { Entrypoint: [''], Cmd: ['date'] },
      want: { command: ['date'] },
    },
    {
      it: 'lets the last of two variables of a name count',
      config: { Env: ['A=1', 'A=2=$x'] },
      want: { env: [{ name: 'A', value: '2=$$x' }] },
    },
    {
      it: 'has a terminal and input',
      config: { Tty: true, OpenStdin: true, StdinOnce: true },
      want: { tty: true, stdin: true, stdinOnce: undefined },
    },
    {
      it: 'ends the input with the client that has it',
      config: { OpenStdin: true, StdinOnce: true },
      want: { tty: undefined, stdin: true, stdinOnce: true },
    },
    {
      it: 'is removed at its end, with what is its own',
      host: { AutoRemove: true },
      want: { ttlSecondsAfterFinished: 0, imageVolumes: { reclaimPolicy: 'Delete' } },
    },
    {
      it: 'is restarted on failure so often',
      host: { RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 3 } },
      want: { restartPolicy: 'OnFailure', restart: { maxRetries: 3 } },
    },
    {
      it: 'is restarted unless it is stopped',
      host: { RestartPolicy: { Name: 'unless-stopped' } },
      want: { restartPolicy: 'UnlessStopped' },
    },
    {
      it: 'has limits',
      host: { Memory: 67_108_864, MemorySwap: 134_217_728, NanoCpus: 500_000_000, PidsLimit: 50, CpuShares: 512 },
      want: {
        resources: {
          limits: { memory: 67_108_864, swap: 67_108_864, cpu: '500m', pids: 50 },
          requests: { cpu: '500m' },
        },
      },
    },
    {
      it: 'has a quota of a processor',
      host: { CpuPeriod: 50_000, CpuQuota: 100_000 },
      want: { resources: { limits: { cpu: '2000m' } } },
    },
    {
      it: 'has no limit of processes that matters',
      host: { PidsLimit: -1 },
      want: { resources: { limits: { pids: 4_194_304 } } },
    },
    {
      it: 'has a read-only root and no further privileges',
      host: { ReadonlyRootfs: true, SecurityOpt: ['no-new-privileges', 'seccomp=unconfined'] },
      want: {
        securityContext: {
          readOnlyRootFilesystem: true,
          allowPrivilegeEscalation: false,
          seccompProfile: { type: 'Unconfined' },
        },
      },
    },
    {
      it: 'has capabilities, devices, limits and sysctls',
      host: {
        CapAdd: ['NET_ADMIN'],
        CapDrop: ['ALL'],
        Devices: [{ PathOnHost: '/dev/fuse', PathInContainer: '/dev/fuse', CgroupPermissions: 'rw' }],
        Ulimits: [{ Name: 'nofile', Soft: 10, Hard: 20 }],
        Sysctls: { 'net.core.somaxconn': '9' },
      },
      want: {
        securityContext: {
          capabilities: { add: ['NET_ADMIN'], drop: ['ALL'] },
          devices: [{ hostPath: '/dev/fuse', containerPath: '/dev/fuse', permissions: 'rw' }],
          ulimits: [{ name: 'nofile', soft: 10, hard: 20 }],
          sysctls: [{ name: 'net.core.somaxconn', value: '9' }],
        },
      },
    },
    { it: 'sees the processes of the host', host: { PidMode: 'host' }, want: { hostPID: true } },
    { it: 'has an init', host: { Init: true }, want: { init: true } },
    {
      it: 'has links',
      host: { Links: ['web:insideweb', '/db'] },
      want: {
        links: [
          { name: 'web', alias: 'insideweb' },
          { name: 'db', alias: 'db' },
        ],
      },
    },
    {
      it: 'has logs of a size',
      host: { LogConfig: { Type: 'json-file', Config: { 'max-size': '10m', 'max-file': '2' } } },
      want: { logging: { maxSize: 10_485_760, maxFiles: 2 } },
    },
    {
      it: 'waits for ever when it is stopped',
      config: { StopTimeout: -1 },
      want: { terminationGracePeriodSeconds: 86_400 },
    },
    {
      it: 'is stopped as it asks',
      config: { StopSignal: 'SIGQUIT', StopTimeout: 3 },
      want: { stopSignal: 'SIGQUIT', terminationGracePeriodSeconds: 3 },
    },
    {
      it: 'has a health check',
      config: { Healthcheck: { Test: ['CMD-SHELL', 'test $A'], Interval: 2_000_000_000, Retries: 5 } },
      want: {
        readinessProbe: {
          exec: { command: ['/bin/sh', '-c', 'test $$A'] },
          initialDelaySeconds: 0,
          periodSeconds: 2,
          timeoutSeconds: 30,
          successThreshold: 1,
          failureThreshold: 5,
        },
      },
    },
    {
      it: 'has no health check when it says so',
      config: { Healthcheck: { Test: ['NONE'] } },
      want: { readinessProbe: undefined },
    },
  ];
  for (const { it: title, config = {}, host = {}, want } of rows)
    it(title, () => {
      const draft: Readonly<Record<string, unknown>> = { ...parse(config, host).spec };
      for (const [name, value] of Object.entries(want)) assert.deepEqual(draft[name], value, name);
    });

  /** What Docker's clients send without being asked, which means nothing. */
  it('takes what a client sends without being asked', () => {
    parse(
      {
        Hostname: '',
        Domainname: '',
        User: '',
        AttachStdin: false,
        AttachStdout: true,
        AttachStderr: true,
        Env: [],
        Volumes: {},
        WorkingDir: '',
        Entrypoint: null,
        OnBuild: null,
        Labels: {},
      },
      {
        Binds: null,
        ContainerIDFile: '/tmp/cid',
        LogConfig: { Type: '', Config: {} },
        RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
        VolumeDriver: '',
        VolumesFrom: null,
        CapAdd: null,
        CgroupnsMode: '',
        Cgroup: '',
        Links: null,
        OomScoreAdj: 0,
        PidMode: '',
        Privileged: false,
        SecurityOpt: null,
        UTSMode: '',
        UsernsMode: '',
        ShmSize: 0,
        ConsoleSize: [0, 0],
        Isolation: '',
        BlkioWeight: 0,
        BlkioWeightDevice: [],
        CpusetCpus: '',
        Devices: [],
        DeviceRequests: null,
        MemorySwappiness: -1,
        OomKillDisable: false,
        PidsLimit: 0,
        Ulimits: null,
        MaskedPaths: null,
        ReadonlyPaths: null,
      },
      {
        parts: (config, host) => {
          config.raw('Volumes');
          for (const name of ['Binds', 'VolumesFrom']) host.raw(name);
          return { spec: {}, links: [] };
        },
      },
    );
  });

  const refused: [string, object, object, RegExp][] = [
    ['a field that nobody knows', { Color: 'red' }, {}, /^Color: is not known/],
    ['a field of HostConfig that nobody knows', {}, { Turbo: true }, /^HostConfig\.Turbo: is not known/],
    ['processors of its own', {}, { CpusetCpus: '0' }, /HostConfig\.CpusetCpus.*cannot be honoured/],
    ["another container's processes", {}, { PidMode: 'container:x' }, /HostConfig\.PidMode/],
    ["the host's name", {}, { UTSMode: 'host' }, /HostConfig\.UTSMode/],
    ['a log driver that sends logs away', {}, { LogConfig: { Type: 'syslog' } }, /HostConfig\.LogConfig\.Type/],
    ['a log option that is not known', {}, { LogConfig: { Config: { tag: 'x' } } }, /unknown log opt 'tag'/],
    ['a restart policy that is not known', {}, { RestartPolicy: { Name: 'sometimes' } }, /unknown policy 'sometimes'/],
    [
      'retries of another policy',
      {},
      { RestartPolicy: { Name: 'always', MaximumRetryCount: 2 } },
      /cannot be used with restart policy 'always'/,
    ],
    [
      'both removal and restarts',
      {},
      { AutoRemove: true, RestartPolicy: { Name: 'always' } },
      /can't create 'AutoRemove' container with restart policy/,
    ],
    ['too little memory', {}, { Memory: 1024 }, /Minimum memory limit allowed is 6MB/],
    ['swap without a limit', {}, { Memory: 67_108_864, MemorySwap: -1 }, /MemorySwap/],
    ['a type that is wrong', { Tty: 'yes' }, {}, /^Tty: must be true or false, not "yes"/],
    ['a text with a NUL', { User: 'a\0b' }, {}, /^User/],
    ['a variable without a name', { Env: ['=x'] }, {}, /invalid environment variable/],
    ['taking a variable of the image away', { Env: ['LANG'] }, {}, /"LANG", cannot be taken away/],
    ['a link that is malformed', {}, { Links: ['a:b:c'] }, /bad format for links: a:b:c/],
    ['several things at once, all named', { Color: 1 }, { Turbo: 1 }, /Turbo.*; .*Color|Color.*; .*Turbo/],
    ['a health check that names no kind', { Healthcheck: { Test: ['curl'] } }, {}, /Unknown healthcheck type 'curl'/],
    ['a list that is none', { Cmd: { a: 1 } }, {}, /^Cmd: must be a list of texts/],
    ['a HostConfig that is none', {}, [1], /HostConfig: must be an object/],
  ];
  for (const [title, config, host, message] of refused)
    it(`is refused with ${title}`, () =>
      assert.throws(
        () => parse(config, host),
        (error: unknown) => error instanceof DockerError && error.status === 400 && message.test(error.message),
      ));
  it('is refused when there is nothing to run', () => {
    assert.throws(() => parse({}, {}, { imageCommand: [] }), { status: 400, message: 'No command specified' });
  });

  it('keeps labels that Kubernetes would not take beside those that it does', () => {
    const { metadata } = parse({ Labels: { tier: 'front', 'com.x.dir': '/srv/x' } });
    assert.deepEqual(metadata.labels, { tier: 'front' });
    assert.deepEqual(dockerConfigOf({ metadata: { ...object().metadata, annotations: metadata.annotations } }).Labels, {
      'com.x.dir': '/srv/x',
    });
  });
  it('keeps no value of a variable outside the spec', () => {
    const { metadata } = parse({ Env: ['PASSWORD=s3cret'] });
    assert.equal(JSON.stringify(metadata).includes('s3cret'), false);
  });
  it('takes no names of objects for fields', () => {
    const problems: string[] = [];
    const fields = readFields(JSON.parse('{"__proto__":{"Name":"always"},"constructor":1}'), '', problems);
    assert.equal(fields.text('Name'), undefined);
    fields.finish();
    assert.equal(problems.length, 2);
  });
});

describe('docker update', () => {
  it('reads a restart policy as create does', () => {
    const problems: string[] = [];
    assert.deepEqual(parseRestartPolicy(readFields({ Name: 'on-failure', MaximumRetryCount: 2 }, '', problems)), {
      restartPolicy: 'OnFailure',
      restart: { maxRetries: 2 },
    });
    assert.deepEqual(problems, []);
  });
});

describe('inspect', () => {
  const base = object({
    spec: {
      ...spec,
      command: ['a$$b'],
      args: ['c'],
      env: [
        { name: 'X', value: '$$1' },
        { name: 'P', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } },
      ],
    },
  });
  const config = {
    entrypoint: ['e'],
    cmd: ['d'],
    env: ['PATH=/bin', 'X=0'],
    workingDir: '/w',
    user: 'u',
    exposedPorts: ['80/tcp'],
    volumes: [],
  };
  const inspected = (): Record<string, Record<string, unknown>> =>
    formatInspect({
      object: base,
      image: { id: 'sha256:1', config },
      namespace: 'default',
      nowMs: 0,
      execIDs: [],
      nameOfLink: (name) => name,
      networkMode: 'default',
      networkSettings: {},
      mounts: [],
      hostNetworkConfig: {},
    }) as Record<string, Record<string, unknown>>; // looked into by the assertions
  it("shows the program as it is run, and Docker's two lists", () => {
    assert.deepEqual(commandOf(base, config), { entrypoint: ['a$b'], cmd: ['c'], words: ['a$b', 'c'] });
    assert.deepEqual(commandOf(object(), config), { entrypoint: ['e'], cmd: ['d'], words: ['e', 'd'] });
  });
  it('shows variables of image and spec, and no value that comes from a Secret', () => {
    assert.deepEqual(inspected().Config?.Env, ['PATH=/bin', 'X=$1']);
  });
  it('shows restart policies in their own words', () => {
    assert.deepEqual(inspected().HostConfig?.RestartPolicy, { Name: 'always', MaximumRetryCount: 0 });
  });
});

describe('healthOf', () => {
  const readinessProbe = {
    exec: { command: ['x'] },
    initialDelaySeconds: 0,
    periodSeconds: 1,
    timeoutSeconds: 1,
    successThreshold: 1,
    failureThreshold: 2,
  };
  const at = (seconds: number, ready: boolean): string =>
    healthOf(
      { readinessProbe },
      { state: 'Running', ready, startedAt: '2026-01-01T00:00:00Z' },
      { startPeriodSeconds: 5, nowMs: Date.parse('2026-01-01T00:00:00Z') + seconds * 1000 },
    );
  it('is starting at first, healthy when the check succeeds, and unhealthy when it has failed too often', () => {
    assert.equal(at(1, false), 'starting');
    assert.equal(at(1, true), 'healthy');
    assert.equal(at(60, false), 'unhealthy');
  });
});
