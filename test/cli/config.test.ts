import assert from 'node:assert/strict';
import { ConfigError, parseConfig } from '../../cli/index.ts';

const parse = (args: string[], env: Record<string, string> = {}, file: Record<string, unknown> = {}) =>
  parseConfig({ args, env, hostname: 'host', readFile: () => file });

describe('parseConfig', () => {
  it('has the defaults of the design', () => {
    const { dataDir, runDir, listen, metricsListen, bridge, subnet, nodeName } = parse([]);
    assert.deepEqual(
      { dataDir, runDir, listen, metricsListen, bridge, subnet, nodeName },
      {
        dataDir: '/var/lib/holdfast',
        runDir: '/run/holdfast',
        listen: { host: '127.0.0.1', port: 7443 },
        metricsListen: { host: '127.0.0.1', port: 7444 },
        bridge: 'hf0',
        subnet: '10.76.0.0/16',
        nodeName: 'host',
      },
    );
  });
  it('takes a flag before the environment before the file', () => {
    const file = { bridge: 'from-file', 'node-name': 'file', subnet: '10.1.0.0/16' };
    const config = parse(
      ['--config', 'f', '--bridge', 'flag'],
      { HOLDFAST_BRIDGE: 'env', HOLDFAST_NODE_NAME: 'env' },
      file,
    );
    assert.deepEqual([config.bridge, config.nodeName, config.subnet], ['flag', 'env', '10.1.0.0/16']);
  });
  it('takes the place of the config file from the environment too', () => {
    assert.equal(parse([], { HOLDFAST_CONFIG: 'f' }, { bridge: 'br7' }).bridge, 'br7');
  });
  it("knows where this host's logins lie, unless it is told", () => {
    assert.deepEqual(parse([], { HOME: '/root' }).authFiles, [
      '/etc/holdfast/auth.json',
      '/run/containers/0/auth.json',
      '/root/.docker/config.json',
    ]);
    const env = { REGISTRY_AUTH_FILE: '/a.json', XDG_RUNTIME_DIR: '/run/user/0', DOCKER_CONFIG: '/d' };
    const expected = ['/a.json', '/etc/holdfast/auth.json', '/run/user/0/containers/auth.json', '/d/config.json'];
    assert.deepEqual(parse([], env).authFiles, expected);
    assert.deepEqual(parse(['--auth-file', '/b.json'], env).authFiles, ['/b.json']);
  });
  it('takes the rules for unused images', () => {
    const defaults = parse([]).imageCollection;
    const unset = { minimumAgeMs: 120_000, maximumAgeMs: undefined, highThresholdPercent: 85, lowThresholdPercent: 80 };
    assert.deepEqual(defaults, unset);
    const never = ['--image-gc-high-threshold', '100', '--image-gc-low-threshold', '100'];
    const changed = parse(['--image-maximum-gc-age', '168h', ...never]).imageCollection;
    assert.deepEqual([changed.maximumAgeMs, changed.highThresholdPercent], [168 * 3_600_000, 100]);
  });
  it('takes how many containers start at once, and how spread after a boot', () => {
    assert.deepEqual(parse([]).startPolicy, { maxConcurrent: 8, bootJitterMs: 1_000 });
    const changed = parse(['--max-concurrent-starts', '2', '--boot-jitter', '1m30s']).startPolicy;
    assert.deepEqual(changed, { maxConcurrent: 2, bootJitterMs: 90_000 });
  });
  it('reads an IPv6 address', () =>
    assert.deepEqual(parse(['--listen', '[::1]:443']).listen, { host: '::1', port: 443 }));

  const refused: { args: string[]; env?: Record<string, string>; file?: Record<string, unknown>; says: RegExp }[] = [
    { args: ['--nope', 'x'], says: /--nope/ },
    { args: ['extra'], says: /extra/ },
    { args: ['--max-concurrent-starts', '0'], says: /--max-concurrent-starts is "0"; write a whole number/ },
    { args: ['--boot-jitter', '2h'], says: /--boot-jitter is "2h"; write a time from 0s to 1h/ },
    { args: ['--listen', '7443'], says: /--listen is "7443"; write HOST:PORT/ },
    { args: ['--listen', '127.0.0.1:70000'], says: /--listen is/ },
    { args: ['--data-dir', 'relative'], says: /--data-dir is "relative"; write an absolute path/ },
    { args: [], env: { HOLDFAST_RUN_DIR: 'x' }, says: /HOLDFAST_RUN_DIR is "x"/ },
    { args: ['--bridge', 'a-name-that-is-too-long'], says: /--bridge/ },
    { args: ['--bridge', '-x'], says: /bridge/ },
    { args: ['--subnet', '10.76.0.1/16'], says: /an address and not a network/ },
    { args: ['--subnet', '10.76.0.0/40'], says: /--subnet/ },
    { args: ['--subnet', '300.0.0.0/16'], says: /--subnet/ },
    { args: ['--subnet6', '10.0.0.0/8'], says: /--subnet6 is .*IPv6 network/ },
    { args: ['--subnet6', 'fd00::/129'], says: /--subnet6/ },
    { args: ['--log-level', 'loud'], says: /--log-level is "loud"; use one of trace/ },
    { args: ['--image-gc-high-threshold', '101'], says: /--image-gc-high-threshold is "101"; write a percentage/ },
    { args: ['--image-gc-low-threshold', '90'], says: /image-gc-low-threshold is 90, and must be less than/ },
    { args: ['--image-maximum-gc-age', '3d'], says: /--image-maximum-gc-age is "3d"; write a time/ },
    { args: ['--config', 'f'], file: { dataDir: '/x' }, says: /a key "dataDir" that is not known/ },
    { args: ['--config', 'f'], file: { bridge: ['x'] }, says: /key "bridge" is \["x"\]/ },
  ];
  for (const { args, env, file, says } of refused) {
    it(`refuses ${JSON.stringify({ args, env, file })} and names it`, () => {
      assert.throws(
        () => parse(args, env, file),
        (error: unknown) => error instanceof ConfigError && says.test(error.message),
      );
    });
  }
});
