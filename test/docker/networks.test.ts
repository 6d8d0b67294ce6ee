/** Networks, ports and volumes, driven by the real docker against a real host. */
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import { freePort } from '../addresses.ts';
import { useInstance } from '../e2e/use-instance.ts';
import { until } from '../until.ts';
import { dockerCommands } from './docker-commands.ts';

const image = 'localhost/busybox:latest';
const forever = [image, 'sleep', '100000'];

describe('networks and volumes, driven by docker', function () {
  this.timeout(300_000);
  const instance = useInstance({ images: 'busybox' });
  const { docker, refusal, socket, tryDocker } = dockerCommands(instance);
  const lines = (text: string): readonly string[] => text.split('\n').filter((line) => line !== '');
  const inspect = (name: string, template: string): Promise<string> => docker('inspect', '--format', template, name);
  /** A request without the CLI, which hides what the API says. */
  const call = async (method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown) => {
    const dispatcher = new Agent({ connect: { socketPath: socket() } });
    try {
      const answer = await request(`http://docker${path}`, {
        method,
        dispatcher,
        ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
      });
      return { status: answer.statusCode, text: await answer.body.text() };
    } finally {
      await dispatcher.close();
    }
  };
  /** undefined if it does, else what ping says; throws if that is nothing of ping's. */
  const missing = async (from: string, name: string): Promise<string | undefined> => {
    const { code, stdout, stderr } = await tryDocker('exec', from, 'ping', '-c', '1', '-W', '2', name);
    if (code === 0) return undefined;
    const text = `${stdout}${stderr}`;
    assert.match(text, /bad address|100% packet loss|unreachable/, `exec in ${from} ended with ${code}: ${text}`);
    return `${from} does not reach ${name}: ${text}`;
  };
  const reaches = async (from: string, name: string): Promise<boolean> => (await missing(from, name)) === undefined;

  afterEach(async () => {
    const left = lines(await docker('ps', '-aq'));
    if (left.length > 0) await docker('rm', '-vf', ...left);
    await docker('network', 'prune', '-f');
    const volumes = lines(await docker('volume', 'ls', '-q'));
    if (volumes.length > 0) await docker('volume', 'rm', ...volumes);
  });

  it('always have bridge, host and none, which nobody makes or removes', async () => {
    const shown = lines(
      await docker('network', 'ls', '--no-trunc', '--format', '{{.ID}} {{.Name}} {{.Driver}} {{.Scope}}'),
    );
    assert.deepEqual(
      shown.map((line) => line.replace(/^[0-9a-f]{64} /, '')),
      ['bridge bridge local', 'host host local', 'none null local'],
    );
    assert.match(await refusal('network', 'rm', 'bridge'), /bridge is a pre-defined network and cannot be removed/);
    assert.match(await refusal('network', 'create', 'host'), /operation is not permitted on predefined host network/);
    const id = await docker('network', 'inspect', '-f', '{{.Id}}', 'bridge');
    assert.equal(await docker('network', 'inspect', '-f', '{{.Name}}', id.slice(0, 12)), 'bridge');
    assert.match(
      await docker('network', 'inspect', '-f', '{{(index .IPAM.Config 0).Subnet}}', 'bridge'),
      /^10\.\S+\/\d+$/,
    );
  });

  it('are made with labels, found by name and id, listed by filters, and refused by name where they cannot be', async () => {
    const id = await docker(
      'network',
      'create',
      '--label',
      'tier=front',
      '--label',
      'com.example/a_b=c d',
      'Shop_front',
    );
    assert.match(id, /^[0-9a-f]{64}$/);
    assert.equal(
      await docker('network', 'inspect', '-f', '{{.Name}} {{.Internal}} {{.Driver}}', id.slice(0, 10)),
      'Shop_front false bridge',
    );
    assert.equal(await docker('network', 'inspect', '-f', '{{index .Labels "com.example/a_b"}}', 'Shop_front'), 'c d');
    assert.match(await refusal('network', 'create', 'Shop_front'), /network with name Shop_front already exists/);
    for (const filter of ['name=Shop', 'label=tier=front', 'type=custom', `id=${id.slice(0, 6)}`, 'dangling=true'])
      assert.equal(await docker('network', 'ls', '-f', filter, '--format', '{{.Name}}'), 'Shop_front', filter);
    assert.match(await refusal('network', 'ls', '-f', 'wonder=1'), /[Ii]nvalid filter 'wonder'/);
    assert.match(await refusal('network', 'inspect', 'nope'), /network nope not found/);
    assert.match(await refusal('network', 'create', '-d', 'macvlan', 'x1'), /plugin "macvlan" not found/);
    assert.match(
      await refusal('network', 'create', '--subnet', '10.9.0.0/16', 'x1'),
      /IPAM\.Config\[0\]\.Subnet: .*leave it out/,
    );
    assert.match(await refusal('network', 'create', '-o', 'com.docker.network.bridge.name=x', 'x1'), /Options: /);
    const kubectl = await instance().kubectl(['get', 'ctrnet', '-l', 'tier=front', '-o', 'name']);
    assert.match(kubectl.stdout, /^network.holdfast.dev\/shop-front-[0-9a-f]{8}\n$/);
    assert.equal(await docker('network', 'rm', 'Shop_front'), 'Shop_front');
    assert.equal(await docker('network', 'ls', '-q', '-f', 'type=custom'), '');
  });

  it('keep containers apart, and let those find each other that share one, by name, alias and id', async () => {
    await docker('network', 'create', 'front');
    await docker('network', 'create', 'back');
    const id = await docker('run', '-d', '--name', 'My_db', '--network', 'back', '--network-alias', 'data', ...forever);
    await docker('run', '-d', '--name', 'app', '--network', 'back', ...forever);
    await docker('run', '-d', '--name', 'web', '--network', 'front', ...forever);
    await docker('run', '-d', '--name', 'plain', ...forever);
    for (const name of ['My_db', 'data', id.slice(0, 12)]) assert.equal(await missing('app', name), undefined);
    const address = await inspect('My_db', '{{.NetworkSettings.Networks.back.IPAddress}}');
    assert.match(address, /^10\./);
    for (const from of ['web', 'plain']) {
      assert.equal(await reaches(from, address), false, `${from} reaches ${address}`);
      assert.equal(await reaches(from, 'data'), false, `${from} knows a name of a network that it is not on`);
    }
    assert.equal(
      await inspect('My_db', '{{.HostConfig.NetworkMode}} {{json .NetworkSettings.Networks.back.Aliases}}'),
      `back ["data","${id.slice(0, 12)}"]`,
    );
    assert.equal(await inspect('My_db', '{{.NetworkSettings.IPAddress}}'), '');
    assert.match(
      await inspect('plain', '{{.NetworkSettings.IPAddress}} {{.NetworkSettings.MacAddress}}'),
      /^10\.\S+ ([0-9a-f]{2}:){5}/,
    );
    const members = await docker(
      'network',
      'inspect',
      '-f',
      '{{range $id, $c := .Containers}}{{$c.Name}} {{$c.IPv4Address}},{{end}}',
      'back',
    );
    assert.match(members, new RegExp(`My_db ${address}/\\d+,`));
    assert.equal(lines(await docker('ps', '-q', '--filter', 'network=back')).length, 2);
    assert.match(
      await refusal('network', 'rm', 'back'),
      /error while removing network: network back id [0-9a-f]{64} has active endpoints/,
    );
    assert.match(await refusal('run', '--rm', '--network', 'nope', ...forever), /network nope not found/);
  });

  it('are joined and left while a container runs', async () => {
    await docker('network', 'create', '--internal', 'side');
    await docker('run', '-d', '--name', 'peer', '--network', 'side', ...forever);
    await docker('run', '-d', '--name', 'mover', ...forever);
    const pid = await inspect('mover', '{{.State.Pid}}');
    assert.equal(await reaches('mover', 'peer'), false);
    await docker('network', 'connect', '--alias', 'guest', 'side', 'mover');
    assert.equal(await missing('mover', 'peer'), undefined);
    assert.equal(await missing('peer', 'guest'), undefined);
    assert.match(
      await refusal('network', 'connect', 'side', 'mover'),
      /endpoint with name mover already exists in network side/,
    );
    await docker('network', 'disconnect', 'bridge', 'mover');
    assert.equal(await inspect('mover', '{{range $n, $_ := .NetworkSettings.Networks}}{{$n}} {{end}}'), 'side');
    await docker('network', 'disconnect', 'side', 'mover');
    assert.equal(await reaches('mover', 'peer'), false);
    assert.match(await refusal('network', 'disconnect', 'side', 'mover'), /is not connected to network side/);
    await docker('network', 'connect', 'bridge', 'mover');
    assert.equal(await inspect('mover', '{{.State.Pid}}'), pid);
    await docker('run', '-d', '--name', 'onhost', '--network', 'host', ...forever);
    assert.match(await refusal('network', 'connect', 'side', 'onhost'), /host network/);
    await docker('run', '-d', '--name', 'alone', '--network', 'none', ...forever);
    assert.match(await refusal('network', 'connect', 'side', 'alone'), /private \(none\) mode/);
    assert.equal(await docker('exec', 'alone', 'ls', '/sys/class/net'), 'lo');
    assert.equal(await docker('network', 'prune', '-f'), '');
  });

  it('are pruned when nobody runs on them', async () => {
    for (const name of ['used', 'idle', 'kept'])
      await docker('network', 'create', '--label', `keep=${name === 'kept'}`, name);
    await docker('run', '-d', '--name', 'user', '--network', 'used', ...forever);
    assert.match(await docker('network', 'prune', '-f', '--filter', 'label!=keep=true'), /^Deleted Networks:\nidle$/);
    assert.deepEqual(lines(await docker('network', 'ls', '-f', 'type=custom', '--format', '{{.Name}}')).toSorted(), [
      'kept',
      'used',
    ]);
  });

  it('publish ports as they are asked for', async () => {
    const [port, udp] = [await freePort(), await freePort()];
    await docker(
      'run',
      '-d',
      '--name',
      'web',
      '-p',
      `${port}:80`,
      '-p',
      '127.0.0.1::81',
      '-p',
      `${udp}:53/udp`,
      '-p',
      '82',
      ...forever,
    );
    const ports = lines(await docker('port', 'web'));
    assert.ok(ports.includes(`80/tcp -> 0.0.0.0:${port}`), ports.join());
    assert.ok(ports.includes(`53/udp -> 0.0.0.0:${udp}`), ports.join());
    assert.ok(
      ports.some((line) => /^81\/tcp -> 127\.0\.0\.1:\d+$/.test(line)),
      ports.join(),
    );
    assert.match(await docker('port', 'web', '82'), /^0\.0\.0\.0:\d+/);
    assert.match(await docker('ps', '--format', '{{.Ports}}'), new RegExp(`0\\.0\\.0\\.0:${port}->80/tcp`));
    await docker('run', '-d', '--name', 'all', '--expose', '90', '-P', ...forever);
    assert.match(await docker('port', 'all', '90'), /^0\.0\.0\.0:\d+/);
    const taken = await refusal('run', '--name', 'late', '-p', `${port}:80`, ...forever);
    assert.match(taken, /port is already allocated|has it|is taken/);
  });

  it('keep volumes: made, named, shared, in use, and gone', async () => {
    assert.equal(await docker('volume', 'create', '--label', 'tier=data', 'my_data'), 'my_data');
    const anonymous = await docker('volume', 'create');
    assert.match(anonymous, /^[0-9a-f]{64}$/);
    await docker('run', '--rm', '-v', 'my_data:/data', image, 'sh', '-c', 'echo kept > /data/file');
    assert.equal(await docker('run', '--rm', '-v', 'my_data:/data:ro', image, 'cat', '/data/file'), 'kept');
    const mountpoint = await docker('volume', 'inspect', '-f', '{{.Mountpoint}} {{.Driver}} {{.Scope}}', 'my_data');
    assert.match(mountpoint, /^\/\S+\/default\.my_data\/data local local$/);
    assert.equal(await docker('volume', 'ls', '-q', '-f', 'label=tier=data'), 'my_data');
    const user = await docker('create', '--name', 'user', '-v', 'my_data:/data', '-v', '/bare', ...forever);
    assert.equal(await docker('volume', 'ls', '-q', '-f', 'dangling=true'), anonymous);
    assert.match(
      await refusal('volume', 'rm', 'my_data'),
      new RegExp(`remove my_data: volume is in use - \\[${user}\\]`),
    );
    const mounts = await inspect('user', '{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}} {{.RW}},{{end}}');
    assert.match(mounts, /^volume [0-9a-f]{64} \/bare true,volume my_data \/data true,$/);
    assert.match(await refusal('volume', 'inspect', 'nope'), /get nope: no such volume/);
    assert.match(await refusal('volume', 'rm', 'nope'), /get nope: no such volume/);
    assert.equal((await call('DELETE', '/v1.41/volumes/nope?force=1')).status, 204);
    assert.match(await refusal('volume', 'create', '-d', 'nfs', 'x1'), /Driver: "nfs" cannot be honoured/);
    assert.match(await refusal('volume', 'create', '-o', 'type=tmpfs', 'x1'), /DriverOpts: /);
    assert.match(await refusal('volume', 'create', 'a/b'), /includes invalid characters for a local volume name/);
    await docker('rm', '-v', 'user');
    await until(
      async () => lines(await docker('volume', 'ls', '-q')).length === 2,
      'the volume of a bare path to go with rm -v',
    );
    // From 1.42 on a prune spares what somebody named.
    const spared = await call('POST', '/v1.42/volumes/prune');
    assert.deepEqual(Reflect.get(JSON.parse(spared.text), 'VolumesDeleted'), [anonymous]);
    const all = await call('POST', '/v1.41/volumes/prune');
    assert.deepEqual(Reflect.get(JSON.parse(all.text), 'VolumesDeleted'), ['my_data']);
    assert.equal(await docker('volume', 'ls', '-q'), '');
  });

  it('show folders of a container’s own as volumes that nobody has named, which go with it', async () => {
    await instance().create('own', {
      ...{ image, imagePullPolicy: 'Never', command: ['sleep', '1000'], terminationGracePeriodSeconds: 0 },
      volumes: [{ name: 'scratch', emptyDir: {} }],
      volumeMounts: [{ name: 'scratch', mountPath: '/scratch' }],
    });
    await instance().waitFor('own', ({ state }) => state === 'Running', 'running');
    const [name = '', source] = (await inspect('own', '{{range .Mounts}}{{.Name}} {{.Source}}{{end}}')).split(' ');
    assert.match(name, /^[0-9a-f]{64}$/);
    assert.equal(await docker('volume', 'inspect', '-f', '{{.Mountpoint}}', name), source);
    assert.match(await refusal('volume', 'rm', name), /volume is in use/);
    await instance().remove('own');
    assert.equal(await docker('volume', 'ls', '-q'), '');
  });

  it('lend volumes to other containers, and bind paths of the host', async () => {
    const dir = join(instance().dataDir, 'bound');
    await mkdir(dir);
    await writeFile(join(dir, 'file'), 'of the host');
    await docker('run', '-d', '--name', 'owner', '-v', '/shared', '-v', `${dir}:/bound:ro`, ...forever);
    await docker('exec', 'owner', 'sh', '-c', 'echo lent > /shared/file');
    assert.equal(
      await docker('run', '--rm', '--volumes-from', 'owner', image, 'cat', '/shared/file', '/bound/file'),
      'lent\nof the host',
    );
    assert.match(await refusal('run', '--rm', '--volumes-from', 'nope', ...forever), /No such container: nope/);
    assert.match(
      await refusal('run', '--rm', '--mount', 'type=bind,src=/not/there,dst=/x', ...forever),
      /bind source path does not exist: \/not\/there/,
    );
    assert.match(await docker('run', '--rm', '--tmpfs', '/t:size=1m', image, 'df', '/t'), /tmpfs\s+1024 /);
  });

  it('answer nonsense with an error of the client’s', async () => {
    for (const [method, path, body] of [
      ['POST', '/networks/create', undefined],
      ['POST', '/networks/create', []],
      ['POST', '/networks/create', { Name: 7 }],
      ['POST', '/networks/create', { Name: 'x'.repeat(10_000) }],
      ['POST', '/networks/bridge/connect', { Container: 7 }],
      ['POST', '/networks/bridge/connect', { Container: 'nope' }],
      ['POST', '/networks/nope/disconnect', { Container: 'nope' }],
      ['GET', '/networks?filters=7', undefined],
      ['GET', '/networks/%ff', undefined],
      ['DELETE', '/networks/..%2f..', undefined],
      ['POST', '/volumes/create', 'x'],
      ['POST', '/volumes/create', { Name: '../x' }],
      ['POST', '/volumes/create', { Labels: 'x' }],
      ['GET', '/volumes/..%2fx', undefined],
      ['GET', '/volumes?filters={"dangling":["x"]}', undefined],
      ['DELETE', '/volumes/..', undefined],
      ['POST', '/volumes/prune?filters={', undefined],
    ] as const) {
      const { status, text } = await call(method, path, body);
      assert.ok(status >= 400 && status < 500, `${method} ${path} ${JSON.stringify(body)}: ${status} ${text}`);
      assert.match(text, /"message":/, `${method} ${path}`);
    }
  });
});
