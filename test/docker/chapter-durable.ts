/** 'Docker in Action', chapter 2, sections 2.6 and 2.7: durable containers, and cleaning up. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { until } from '../until.ts';
import type { Section } from './book.ts';

/** What the docker command says of a container that is not stopped; Docker 25 words it anew. */
const notRemovable =
  /cannot remove (?:a (?:running|paused|restarting) container|container .* is (?:running|paused|restarting))/i;

export const durable: Section = {
  title: '2.6 Durable containers',
  checks: [
    {
      it: 'starts a container again that always ends, after waits that double',
      run: async (book) => {
        await book.ok('docker run -d --name backoff-detector --restart always busybox date');
        let gapsMs: readonly number[] = [];
        const haveGrown = async (): Promise<boolean> => {
          const log = await book.ok('docker logs --timestamps backoff-detector');
          const timesMs = [...log.matchAll(/^(\S+Z) [^\n]+ UTC \d+$/gm)].map(([, time]) => Date.parse(time ?? ''));
          gapsMs = timesMs.slice(1).map((time, index) => time - (timesMs[index] ?? 0));
          const [firstMs = 0, lastMs = 0, lastButTwoMs = 0] = [gapsMs[0], gapsMs.at(-1), gapsMs.at(-3)];
          return gapsMs.length >= 5 && lastMs > 1.4 * lastButTwoMs && lastMs > 2.5 * firstMs;
        };
        // A gap has a start in it besides, so that on a busy machine it takes some more until one sees them double.
        await until(haveGrown, 'the waits to grow', 180_000).catch((cause: unknown) => {
          throw new Error(`the waits do not double: ${gapsMs} ms`, { cause });
        });
        // Docker's first wait is 0.1 s.
        for (const [index, gapMs] of gapsMs.entries()) assert.ok(gapMs >= 95 * 2 ** index, `${gapsMs} ms`);
      },
    },
    {
      it: 'shows the times in the log as it follows it',
      run: async (book) => {
        const lines = await book.ok('docker logs -f backoff-detector | head -n 5');
        assert.match(lines, /^([^\n]+ UTC \d+\s*){5}$/);
      },
    },
    {
      it: 'is restarting while it waits, and counts',
      run: async (book) => {
        await book.shows(
          "docker inspect -f '{{.State.Status}} {{.State.Restarting}}' backoff-detector",
          /^restarting true$/m,
        );
        assert.ok(Number(await book.inspect('backoff-detector', '{{.RestartCount}}')) >= 5);
        await book.shows('docker ps --filter name=backoff-detector', / Restarting \(0\) .* ago /);
      },
    },
    {
      it: 'runs no program in it meanwhile, and says why',
      run: async (book) => {
        const id = await book.inspect('backoff-detector', '{{.Id}}');
        await book.shows(
          'docker exec backoff-detector echo Just a Test',
          new RegExp(`Container ${id} is restarting, wait until the container is running`),
        );
      },
    },
    {
      it: 'gives up after the number of restarts that it was given',
      run: async (book) => {
        await book.ok('docker run -d --name tries-twice --restart on-failure:2 busybox:latest false');
        await book.shows(
          "docker inspect -f '{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}' tries-twice",
          /^2 exited 1$/m,
        );
      },
    },
    {
      it: 'does not start again what ends well, on failure, or what has no policy',
      run: async (book) => {
        await book.ok('docker run -d --name ends-well --restart on-failure busybox:latest true');
        await book.ok('docker run -d --name no-policy busybox:latest false');
        for (const [name, code] of [
          ['ends-well', 0],
          ['no-policy', 1],
        ] as const) {
          await book.shows(`docker inspect -f '{{.State.Status}}' ${name}`, /^exited$/m);
          assert.equal(await book.inspect(name, '{{.RestartCount}} {{.State.ExitCode}}'), `0 ${code}`);
        }
        assert.equal(await book.inspect('no-policy', '{{.HostConfig.RestartPolicy.Name}}'), 'no');
      },
    },
    {
      it: 'runs supervisord with a database and a web server in one container',
      run: async (book) => {
        await book.ok('docker run -d -p $PORT:80 --name lamp-test tutum/lamp');
        // Either may be the first.
        await book.shows('docker logs lamp-test', /success: apache2 entered RUNNING state/);
        await book.shows('docker logs lamp-test', /ready for connections/);
        assert.equal(await book.ok('docker port lamp-test 80 | head -n 1'), `0.0.0.0:${book.env.PORT}`);
        assert.match(await book.visit('lamp-test'), /visit 1\b/);
      },
    },
    {
      it: 'shows its processes by the ids that they have on the host',
      run: async (book) => {
        const [header, ...rows] = (await book.ok('docker top lamp-test')).split('\n');
        assert.match(header ?? '', /^UID +PID +PPID +C +STIME +TTY +TIME +CMD$/);
        const supervisord = rows.find((row) => / supervisord|\/supervisord /.test(row))?.split(/ +/)[1];
        assert.equal(supervisord, await book.inspect('lamp-test', '{{.State.Pid}}'));
        assert.ok(rows.filter((row) => row.includes('apache2 -D FOREGROUND')).length >= 2);
        assert.ok(rows.some((row) => row.includes('mariadbd')));
      },
    },
    {
      it: 'shows them by the ids that they have inside',
      run: async (book) => {
        const processes = await book.ok('docker exec lamp-test ps');
        assert.match(processes, /^ +1 root +.*supervisord/m);
        assert.match(processes, /apache2 -D FOREGROUND/);
      },
    },
    {
      it: 'has supervisord start a killed web server again, while the container runs on',
      run: async (book) => {
        const before = await book.inspect('lamp-test', '{{.State.StartedAt}} {{.RestartCount}}');
        const pid = await book.ok('docker exec lamp-test cat /run/apache2.pid');
        await book.ok(`docker exec lamp-test kill ${pid}`);
        await book.shows(
          'docker logs lamp-test',
          /exited: apache2 [\s\S]*spawned: 'apache2' with pid \d+[\s\S]*success: apache2 entered RUNNING state/,
        );
        assert.equal(await book.inspect('lamp-test', '{{.State.StartedAt}} {{.RestartCount}}'), before);
        assert.equal(await book.inspect('lamp-test', '{{.State.Running}}'), 'true');
        // To supervisord a program runs that has lived for a second, whatever it has written by then.
        await book.shows('docker exec lamp-test cat /run/apache2.pid', new RegExp(`^(?!${pid}$)\\d+$`, 'm'));
      },
    },
    {
      it: 'runs the start script of an image first, whatever it is to run',
      run: async (book) => {
        const { code, stderr } = await book.sh('docker run wordpress:4 cat /entrypoint.sh');
        assert.equal(code, 1);
        assert.match(stderr, /^error: missing WORDPRESS_DB_HOST and MYSQL_PORT_3306_TCP environment variables$/m);
      },
    },
    {
      it: 'shows that script with another entrypoint in its place',
      run: async (book) => {
        const { code, stdout } = await book.sh('docker run --entrypoint="cat" wordpress:4 /entrypoint.sh');
        assert.equal(code, 0);
        assert.equal(stdout, await readFile('examples/wordpress/images/wordpress/entrypoint.sh', 'utf8'));
      },
    },
    {
      it: 'has the database and a site start again always: also after a kill from within',
      run: async (book) => {
        await book.ok('docker update --restart always wpdb');
        await book.ok(
          'docker run -d --name wp-durable --restart always --link wpdb:mysql -p 80 -e WORDPRESS_DB_NAME=alice wordpress:4',
        );
        await book.shows('docker logs wp-durable', /resuming normal operations/);
        await book.sh('docker exec wp-durable sh -c "kill -TERM 1"');
        await book.shows("docker inspect -f '{{.RestartCount}} {{.State.Status}}' wp-durable", /^1 running$/m);
        await book.shows('docker logs wp-durable', /(resuming normal operations[\s\S]*){2}/);
        assert.match(await book.visit('wp-durable'), /<title>The site of alice/);
      },
    },
  ],
};

export const cleaningUp: Section = {
  title: '2.7 Cleaning up',
  checks: [
    {
      it: 'lists what there is, in whatever state',
      run: async (book) => {
        const states = await book.ok("docker ps -a --format '{{.State}}' | sort -u");
        for (const state of ['created', 'exited', 'running']) assert.match(states, new RegExp(`^${state}$`, 'm'));
        assert.match(await book.ok("docker ps -a --filter status=exited --format '{{.Names}}'"), /^wp2$/m);
      },
    },
    {
      it: 'removes a container that has ended',
      run: async (book) => {
        assert.equal(await book.ok('docker rm wp'), 'wp');
        assert.match(await book.fails('docker inspect wp'), /No such object: wp/);
      },
    },
    {
      it: 'does not remove one that runs, is paused or restarting, and says how to',
      run: async (book) => {
        assert.match(await book.fails('docker rm wp3'), notRemovable);
        // dockerd cannot freeze Apache's many processes while they are created; one who types it tries again.
        await book.shows('docker pause wp3 || true; docker inspect -f "{{.State.Status}}" wp3', /^paused$/m);
        try {
          assert.match(await book.fails('docker rm wp3'), notRemovable);
        } finally {
          await book.ok('docker unpause wp3');
        }
        await book.shows("docker inspect -f '{{.State.Status}}' backoff-detector", /^restarting$/m);
        assert.match(await book.fails('docker rm backoff-detector'), notRemovable);
        assert.equal(await book.inspect('wp3', '{{.State.Status}}'), 'running');
      },
    },
    {
      it: 'asks a program to stop, which ends by itself',
      run: async (book) => {
        await book.ok('docker stop wp3');
        assert.equal(await book.inspect('wp3', '{{.State.Status}} {{.State.ExitCode}}'), 'exited 0');
        assert.equal(await book.ok('docker rm -v wp3'), 'wp3');
      },
    },
    {
      it: 'stops one that is to be started again, for good',
      run: async (book) => {
        await book.ok('docker stop backoff-detector');
        assert.equal(await book.inspect('backoff-detector', '{{.State.Status}}'), 'exited');
        await book.ok('docker rm backoff-detector');
      },
    },
    {
      it: 'kills what does not listen when the time is over',
      run: async (book) => {
        await book.ok(`docker run -d --name deaf busybox:latest sh -c "trap '' TERM; echo ready; sleep 30000"`);
        await book.shows('docker logs deaf', /ready/);
        await book.ok('docker stop -t 1 deaf');
        assert.equal(await book.inspect('deaf', '{{.State.Status}} {{.State.ExitCode}}'), 'exited 137');
      },
    },
    {
      it: 'kills at once',
      run: async (book) => {
        await book.ok('docker start deaf');
        assert.equal(await book.ok('docker kill deaf'), 'deaf');
        await book.shows("docker inspect -f '{{.State.Status}} {{.State.ExitCode}}' deaf", /^exited 137$/m);
      },
    },
    {
      it: 'removes a running container by force',
      run: async (book) => {
        await book.ok('docker start deaf');
        assert.equal(await book.ok('docker rm -f deaf'), 'deaf');
        assert.equal(await book.ok('docker ps -aq --filter name=deaf'), '');
      },
    },
    {
      it: 'leaves nothing of a container that was run with --rm',
      run: async (book) => {
        const said = await book.ok('docker run --rm --name auto-exit-test busybox:latest echo Hello World');
        assert.equal(said, 'Hello World');
        assert.equal(await book.ok('docker ps -a --filter name=auto-exit-test --quiet'), '');
      },
    },
    {
      it: 'keeps the volumes of a removed container, unless it is told not to',
      run: async (book) => {
        const volumeOf = async (name: string): Promise<string> => {
          await book.ok(`docker create --name ${name} -v /data busybox:latest`);
          return await book.inspect(name, '{{(index .Mounts 0).Name}}');
        };
        const [kept, taken] = [await volumeOf('keeps'), await volumeOf('takes')];
        await book.ok('docker rm keeps');
        await book.ok('docker rm -v takes');
        const volumes = await book.ok('docker volume ls --quiet');
        assert.ok(volumes.includes(kept) && !volumes.includes(taken), volumes);
        assert.equal(await book.ok(`docker volume rm ${kept}`), kept);
      },
    },
    {
      it: 'removes everything',
      run: async (book) => {
        await book.ok('docker rm -vf $(docker ps -a -q)');
        assert.equal(await book.ok('docker ps -a -q'), '');
        assert.equal(await book.ok('docker volume ls --quiet'), '', 'and the volumes that were made for them');
      },
    },
  ],
};
