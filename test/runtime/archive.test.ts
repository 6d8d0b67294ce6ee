/** Copying files into and out of containers, those that run and those that do not. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { parseArchiveStat } from '../../runtime/archive.ts';
import {
  ArchiveError,
  type ContainerConfig,
  ContainerNotFoundError,
  type WriteArchiveOptions,
} from '../../runtime/index.ts';
import { never, TestHost, until } from './host.ts';

/** Runs the host's tar. */
async function tar(args: readonly string[], input?: Buffer): Promise<Buffer> {
  const child = spawn('tar', args, { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.on('error', () => {}); // its exit code tells
  child.stdin.end(input);
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  const output = await buffer(child.stdout);
  assert.equal(await ended, 0, `tar ${args.join(' ')}`);
  return output;
}

/** Name, kind, mode, owner and size of every entry, as tar sees it. */
async function listing(archive: Buffer): Promise<string[]> {
  const text = (await tar(['--numeric-owner', '-tvf', '-'], archive)).toString();
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.replace(/\s+/g, ' ').replace(/ [0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{5} /, ' '));
}

const kindOf = async (work: Promise<unknown>): Promise<string> => {
  const error = await work.then(
    () => undefined,
    (problem: unknown) => problem,
  );
  assert.ok(error instanceof ArchiveError, String(error));
  return error.kind;
};

/** A tar header for what the host's tar would not write. */
function entry(name: string, change: { type?: string; link?: string; data?: string } = {}): Buffer {
  const data = Buffer.from(change.data ?? '');
  const block = Buffer.alloc(512);
  block.write(name, 0);
  block.write('0000644\0', 100);
  block.write('0000000\0', 108);
  block.write('0000000\0', 116);
  block.write(`${data.length.toString(8).padStart(11, '0')}\0`, 124);
  block.write('00000000000\0', 136);
  block.write('        ', 148);
  block.write(change.type ?? '0', 156);
  block.write(change.link ?? '', 157);
  block.write('ustar\x0000', 257);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return Buffer.concat([block, data, Buffer.alloc((512 - (data.length % 512)) % 512)]);
}

const end = Buffer.alloc(1024);

describe('what is said of a file', () => {
  it('is read with names that need not be text', () => {
    assert.deepEqual(parseArchiveStat('%3Da%20b%C3%A9 %3D12 %3D33261 %3D1700000000 %3D'), {
      name: 'a bé',
      kind: 'file',
      sizeBytes: 12,
      mode: 0o755,
      mtimeMs: 1_700_000_000_000,
    });
    assert.deepEqual(parseArchiveStat('%3Dlink %3D4 %3D41471 %3D1 %3D../x').linkTarget, '../x');
  });
});

describe('copying files', () => {
  let host: TestHost;
  let dir: string;
  /** One that runs, one that has ended and one that never ran, with a volume and a read-only root each where asked. */
  const containers: { what: string; id: string }[] = [];
  let readOnly: { what: string; id: string }[] = [];

  const read = async (id: string, path: string) => {
    const { stat, stream } = await host.runtime.containers.readArchive(id, path, never);
    return { stat, archive: await buffer(stream) };
  };
  const write = (id: string, to: string, archive: Buffer, options: WriteArchiveOptions = {}): Promise<void> =>
    host.runtime.containers.writeArchive(id, to, Readable.from([archive]), options, never);
  /** Unpacked on the host. */
  const unpack = async (archive: Buffer): Promise<string> => {
    const folder = await mkdtemp(join(dir, 'out-'));
    await tar(['-xf', '-', '-C', folder], archive);
    return folder;
  };
  const three = async (change: Partial<ContainerConfig>, script = ':'): Promise<{ what: string; id: string }[]> => {
    const running = await host.run({ ...change, cmd: ['sh', '-c', `${script}; echo ready; sleep 100000`] });
    await host.printed(running.id, 'ready');
    const ended = await host.run({ ...change, cmd: ['sh', '-c', script] });
    await host.exited(ended.id);
    const config = host.config(change);
    await host.runtime.containers.create(config, never);
    return [
      { what: 'one that runs', id: running.id },
      { what: 'one that has ended', id: ended.id },
      { what: 'one that never ran', id: config.id },
    ];
  };

  before(async () => {
    host = await TestHost.open();
    dir = await mkdtemp(join(tmpdir(), 'hf-archive-'));
    const volumes = [{ name: 'data', source: { kind: 'own', mode: 0o755 } } as const];
    const mounts = [{ volume: 'data', path: '/data', isReadOnly: false, copiesUp: false }];
    containers.push(...(await three({ volumes, mounts })));
    readOnly = await three({ volumes, mounts, readonlyRootfs: true });
  });
  after(async () => {
    await host.close();
    await rm(dir, { recursive: true, force: true });
  });

  /** Titles are there before the containers are. */
  const each = (what: string, work: (id: string) => Promise<void>): void => {
    it(what, async () => {
      assert.equal(containers.length, 3);
      for (const one of containers) {
        try {
          await work(one.id);
        } catch (error) {
          throw new Error(`with ${one.what}`, { cause: error });
        }
      }
    });
  };

  each('goes in and out whole, with names, modes, owners, times and links', async (id) => {
    const source = await mkdtemp(join(dir, 'in-'));
    const long = 'long-'.repeat(45);
    await mkdir(join(source, 'tree', long), { recursive: true });
    await writeFile(join(source, 'tree', long, 'x'.repeat(200)), 'long names');
    await writeFile(join(source, 'tree', 'program'), '#!/bin/sh\n', { mode: 0o4755 });
    const data = randomBytes(3_000_001);
    await writeFile(join(source, 'tree', 'data é'), data);
    await writeFile(join(source, 'tree', 'empty'), '');
    const script = `cd ${source}/tree; ln program hard; ln -s ../../../etc/passwd soft; mkfifo fifo; mkdir -m 1777 sticky
      chmod 4755 program; chown 33:65534 empty; chown 70000:3000000 'data é'; touch -h -d @1000000000 program soft sticky; touch -d @1000000000 .`;
    await new Promise((resolve) => spawn('sh', ['-ec', script], { stdio: 'inherit' }).once('close', resolve));
    const packed = await tar(['--numeric-owner', '-cf', '-', '-C', source, 'tree']);
    await write(id, '/tmp', packed);
    const { stat, archive } = await read(id, '/tmp/tree');
    assert.deepEqual([stat.name, stat.kind, stat.mtimeMs], ['tree', 'folder', 1_000_000_000_000]);
    const sorted = async (bytes: Buffer): Promise<string[]> =>
      (await listing(bytes))
        .map((line) => line.replace(/^h(.*) tree\/(hard|program) link to tree\/(hard|program)$/, 'h$1'))
        .sort();
    const wanted = (await sorted(packed)).filter((line) => !/tree\/(hard|program)$/.test(line));
    const found = (await sorted(archive)).filter((line) => !/tree\/(hard|program)$/.test(line));
    assert.deepEqual(found, wanted);
    const out = await unpack(archive);
    assert.ok(data.equals(await readFile(join(out, 'tree', 'data é'))));
    assert.equal(await readFile(join(out, 'tree', long, 'x'.repeat(200)), 'utf8'), 'long names');
  });

  each('writes where the container mounts a volume', async (id) => {
    await write(id, '/data', Buffer.concat([entry('in-volume', { data: 'kept' }), end]));
    const { archive } = await read(id, '/data/in-volume');
    assert.deepEqual(await listing(archive), ['-rw-r--r-- 0/0 4 in-volume']);
    // In the volume, not below it.
    const upper = join(host.deps.dataDir, 'containers', id, 'upper', 'data');
    assert.deepEqual(existsSync(upper) ? await readdir(upper) : [], []);
  });

  it('is refused by a root that is read-only, but not by a volume in it', async () => {
    const archive = Buffer.concat([entry('file', { data: 'x' }), end]);
    for (const { what, id } of readOnly) {
      assert.equal(await kindOf(write(id, '/tmp', archive)), 'read-only', what);
      await write(id, '/data', archive);
      assert.equal((await read(id, '/data/file')).stat.sizeBytes, 1, what);
    }
  });

  each('says what is missing, and what is in the way', async (id) => {
    assert.equal(await kindOf(read(id, '/nowhere')), 'not-found');
    assert.equal(await kindOf(write(id, '/nowhere', end)), 'not-found');
    assert.equal(await kindOf(write(id, '/etc/passwd', end)), 'conflict');
    assert.equal(await kindOf(read(id, '/etc/passwd/x')), 'conflict');
    await write(
      id,
      '/tmp',
      Buffer.concat([entry('was-file', { data: 'x' }), entry('was-folder/', { type: '5' }), end]),
    );
    const turned = [entry('was-file/', { type: '5' }), entry('was-folder', { data: 'y' })];
    for (const one of turned) {
      assert.equal(await kindOf(write(id, '/tmp', Buffer.concat([one, end]), { isStrict: true })), 'conflict');
    }
    await write(id, '/tmp', Buffer.concat([...turned, end]));
    assert.equal((await read(id, '/tmp/was-file')).stat.kind, 'folder');
    assert.equal((await read(id, '/tmp/was-folder')).stat.kind, 'file');
  });

  each('makes root the owner if that is asked for', async (id) => {
    const source = await mkdtemp(join(dir, 'in-'));
    await writeFile(join(source, 'mine'), '');
    const packed = await tar(['--owner', '33', '--group', '33', '-cf', '-', '-C', source, 'mine']);
    await write(id, '/tmp', packed, { owner: 'root' });
    assert.deepEqual(await listing((await read(id, '/tmp/mine')).archive), ['-rw-r--r-- 0/0 0 mine']);
  });

  each('refuses an archive that is not sound, naming what is wrong', async (id) => {
    const broken: [Buffer, RegExp][] = [
      [Buffer.from('this is no tar archive'.repeat(100)), /no tar archive/],
      [entry('short', { data: 'x'.repeat(5_000) }).subarray(0, 2_000), /ends in the middle/],
      [Buffer.concat([entry('../../etc/evil', { data: 'x' }), end]), /\.\./],
      [Buffer.concat([entry('a/../../b', { data: 'x' }), end]), /\.\./],
      [Buffer.concat([entry('disk', { type: '4' }), end]), /devices/],
      [Buffer.concat([entry('sparse', { type: 'S' }), end]), /not supported/],
    ];
    for (const [archive, says] of broken) {
      await assert.rejects(write(id, '/tmp', archive), (error) => {
        assert.ok(error instanceof ArchiveError && error.kind === 'invalid', String(error));
        assert.match(error.message, says);
        return true;
      });
    }
  });

  each('follows no link out of the container, whoever made it', async (id) => {
    const secret = join(dir, 'secret');
    await writeFile(secret, 'of the host');
    const up = '../'.repeat(20);
    const archive = Buffer.concat([
      entry('abs', { type: '2', link: dir }),
      entry('rel', { type: '2', link: `${up}${dir.slice(1)}` }),
      end,
    ]);
    await write(id, '/tmp', archive);
    for (const link of ['abs', 'rel']) {
      assert.equal(await kindOf(read(id, `/tmp/${link}/secret`)), 'not-found');
      await assert.rejects(write(id, '/tmp', Buffer.concat([entry(`${link}/planted`, { data: 'x' }), end])));
      const { stat } = await read(id, `/tmp/${link}`);
      assert.equal(stat.kind, 'link');
    }
    assert.equal(existsSync(join(dir, 'planted')), false);
  });

  it('of /proc, /sys and the like takes only the folder', async () => {
    const [running] = containers;
    assert.ok(running);
    const { archive } = await read(running.id, '/');
    const names = (await listing(archive)).map((line) => line.split(' ')[3]);
    assert.ok(names.includes('/proc/') && names.includes('/sys/') && names.includes('/etc/passwd'), names.join('\n'));
    assert.deepEqual(
      names.filter((name) => name !== undefined && /^\/(proc|sys)\/./.test(name)),
      [],
    );
  });

  it('cannot be led to the host by a container that swaps links while it goes on', async () => {
    await writeFile(join(dir, 'bait'), 'of the host');
    await mkdir(join(dir, 'target'), { recursive: true });
    // It swaps a folder for a link out, as fast as it can. What is written between two links makes a folder, which goes.
    const swap = `mkdir -p /work/real; echo mine > /work/real/bait; cd /work; ln -s ${dir} out; echo ready
      while :; do for to in real out; do [ -L there ] || rm -rf there; ln -sfn $to there; done; done`;
    const { id } = await host.run({ cmd: ['sh', '-c', swap] });
    await host.printed(id, 'ready');
    let reads = 0;
    const deadline = Date.now() + 60_000;
    for (let round = 0; (round < 25 || reads < 5) && Date.now() < deadline; round += 1) {
      const found = await read(id, '/work/there/bait').catch(() => undefined);
      if (found !== undefined) {
        reads += 1;
        assert.ok(found.archive.includes('mine\n') && !found.archive.includes('of the host'));
      }
      await write(id, '/work', Buffer.concat([entry('there/target/planted', { data: 'x' }), end])).catch(() => {}); // as it may be
    }
    assert.ok(reads >= 5, `${reads} reads`);
    assert.deepEqual(await readdir(join(dir, 'target')), []);
    await host.runtime.containers.remove(id);
  });

  it('of a container that sees the host’s processes is not led to their roots', async () => {
    const { id } = await host.run({ cmd: ['sleep', '1000'], namespaces: { pid: 'host' } });
    await assert.rejects(read(id, `/proc/${process.pid}/root/etc/hostname`));
    await assert.rejects(read(id, `/proc/1/root/etc/hostname`));
    await host.runtime.containers.remove(id);
  });

  it('of a container with a user namespace has the owners that the container sees', async () => {
    const script = 'echo x > /tmp/own; chown 33:65534 /tmp/own';
    for (const { what, id } of await three({ namespaces: { user: 'mapped' } }, script)) {
      const archive = Buffer.concat([entry('into', { data: 'x' }), end]);
      await write(id, '/tmp', archive);
      assert.deepEqual(await listing((await read(id, '/tmp/into')).archive), ['-rw-r--r-- 0/0 1 into'], what);
      assert.deepEqual(
        await listing((await read(id, '/etc/passwd')).archive).then((lines) => lines[0]?.split(' ')[1]),
        '0/0',
        what,
      );
      if (what === 'one that never ran') continue;
      assert.deepEqual(await listing((await read(id, '/tmp/own')).archive), ['-rw-r--r-- 33/65534 2 own'], what);
    }
  });

  it('waits for a reader that is slow, and ends when it goes away or the container is removed', async () => {
    const { id } = await host.run({
      cmd: ['sh', '-c', 'head -c 20000000 /dev/urandom > /big; echo ready; sleep 1000'],
    });
    await host.printed(id, 'ready');
    const relays = async (): Promise<number> => {
      const children = await readFile(`/proc/self/task/${process.pid}/children`, 'utf8');
      const names = await Promise.all(
        children.split(' ').map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')), // ended: none
      );
      return names.filter((name) => name.startsWith('holdfast-archive')).length;
    };
    const left = await host.runtime.containers.readArchive(id, '/big', never);
    await until('the first bytes', () => left.stream.readableLength > 0);
    assert.equal(await relays(), 1);
    left.stream.destroy();
    await until('its worker to end', async () => (await relays()) === 0);
    const whole = await read(id, '/big');
    assert.equal(whole.stat.sizeBytes, 20_000_000);
    assert.ok(whole.archive.length > 20_000_000);
    await host.runtime.containers.remove(id);
    await assert.rejects(read(id, '/big'), ContainerNotFoundError);
  });

  it('a sender that breaks off leaves an error and no worker', async () => {
    const [running] = containers;
    assert.ok(running);
    const breaking = Readable.from(
      (async function* () {
        yield entry('half', { data: 'x'.repeat(100_000) }).subarray(0, 50_000);
        throw new Error('the client went away');
      })(),
    );
    await assert.rejects(host.runtime.containers.writeArchive(running.id, '/tmp', breaking, {}, never));
  });
});
