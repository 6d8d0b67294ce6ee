/** 'Docker in Action', chapter 2, sections 2.3 and 2.4: the PID namespace, and a farm of websites: names, ids, states. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import type { Section } from './book.ts';
import { fullId } from './chapter-monitor.ts';

export const pidNamespaces: Section = {
  title: '2.3 The PID namespace',
  checks: [
    {
      it: 'shows the programs of namespaceA alone, whose first is process 1',
      run: async (book) => {
        await book.ok('docker run -d --name namespaceA busybox:latest /bin/sh -c "sleep 30000"');
        await book.ok('docker run -d --name namespaceB busybox:latest /bin/sh -c "nc -l -p 80"');
        const processes = await book.shows(
          'docker exec namespaceA ps',
          /^PID +USER +COMMAND\n +1 root +(\/bin\/sh -c )?sleep 30000$/m,
        );
        assert.doesNotMatch(processes, /nc -l -p 80/);
      },
    },
    {
      it: 'shows those of namespaceB alone, which has a process 1 of its own',
      run: async (book) => {
        const processes = await book.shows('docker exec namespaceB ps', /^ +1 root +(\/bin\/sh -c )?nc -l -p 80$/m);
        assert.doesNotMatch(processes, /sleep 30000/);
      },
    },
    {
      it: 'lists the processes of the host with --pid host',
      run: async (book) => {
        const processes = await book.ok('docker run --pid host busybox:latest ps');
        for (const program of ['sleep 30000', 'nc -l -p 80', 'ps'])
          assert.match(processes, new RegExp(`^ *(?!1 )\\d+ \\S+ +(?:/bin/sh -c )?${program}$`, 'm'));
        assert.doesNotMatch(processes, /^ +1 \S+ +ps$/m);
      },
    },
    {
      it: 'cannot run two NGINX in one container: the second finds the port in use',
      run: async (book) => {
        await book.ok('docker run -d --name webConflict nginx:latest');
        await book.shows('docker logs webConflict', /start worker process/);
        const { code, stdout, stderr } = await book.sh("docker exec webConflict nginx -g 'daemon off;'");
        assert.equal(code, 1);
        assert.match(stdout + stderr, /bind\(\) to 0\.0\.0\.0:80 failed \(98: Address already in use\)/);
      },
    },
    {
      it: 'runs two NGINX in containers of their own',
      run: async (book) => {
        await book.ok('docker run -d --name webA nginx:latest');
        await book.ok('docker run -d --name webB nginx:latest');
        for (const name of ['webA', 'webB']) await book.shows(`docker logs ${name}`, /start worker process/);
        assert.equal(await book.ok("docker inspect -f '{{.State.Running}}' webA webB"), 'true\ntrue');
      },
    },
  ],
};

export const websiteFarm: Section = {
  title: '2.4 A farm of websites',
  checks: [
    {
      it: 'refuses a second container of a name, and says which has it',
      run: async (book) => {
        const id = await book.ok('docker run -d --name webid nginx:latest');
        const message = await book.fails('docker run -d --name webid nginx:latest');
        assert.match(message, /Conflict\. The container name "\/webid" is already in use by container/);
        assert.ok(message.includes(`"${id}"`), message);
      },
    },
    {
      it: 'frees the name by renaming the container that has it',
      run: async (book) => {
        const id = await book.inspect('webid', '{{.Id}}');
        await book.ok('docker rename webid webid-old');
        assert.equal(await book.inspect('webid-old', '{{.Id}} {{.Name}} {{.State.Running}}'), `${id} /webid-old true`);
        assert.notEqual(await book.ok('docker run -d --name webid nginx:latest'), id);
      },
    },
    {
      it: 'takes the full id in the place of a name',
      run: async (book) => {
        const id = await book.inspect('webid', '{{.Id}}');
        await book.shows(`docker exec ${id} cat /proc/1/cmdline | tr '\\0' ' '`, /^nginx: master process/);
      },
    },
    {
      it: 'takes the first 12 digits of an id, and answers with what it was asked for',
      run: async (book) => {
        const short = (await book.inspect('webid-old', '{{.Id}}')).slice(0, 12);
        await book.shows(`docker exec ${short} cat /proc/1/cmdline | tr '\\0' ' '`, /^nginx: master process/);
        assert.equal(await book.ok(`docker stop ${short}`), short);
        assert.equal(await book.inspect('webid-old', '{{.State.Status}}'), 'exited');
      },
    },
    {
      it: 'says that there is no container of a name or id that nothing has',
      run: async (book) => {
        for (const name of ['nobody', 'f'.repeat(12), 'f'.repeat(64)])
          assert.match(await book.fails(`docker stop ${name}`), new RegExp(`No such container: ${name}`));
      },
    },
    {
      it: 'creates a container that is not started, and prints its id',
      run: async (book) => {
        const id = await book.ok('docker create nginx');
        assert.match(id, fullId);
        assert.equal(await book.inspect(id, '{{.State.Status}} {{.State.Running}} {{.State.Pid}}'), 'created false 0');
      },
    },
    {
      it: 'gives the id to a variable of the shell',
      run: async (book) => {
        const id = await book.ok('CID=$(docker create nginx:latest) && echo $CID');
        assert.match(id, fullId);
        book.env.CID = id;
        assert.equal(await book.ok("docker inspect -f '{{.Config.Image}}' $CID"), 'nginx:latest');
      },
    },
    {
      it: 'writes the id into a file',
      run: async (book) => {
        const id = await book.ok('docker create --cidfile $TMP/web.cid nginx');
        assert.equal(await readFile(`${book.env.TMP}/web.cid`, 'utf8'), id);
        assert.equal(await book.ok("docker inspect -f '{{.Id}}' $(cat $TMP/web.cid)"), id);
      },
    },
    {
      it: 'fails if that file exists, and creates nothing',
      run: async (book) => {
        const count = await book.ok('docker ps -aq | wc -l');
        const message = await book.fails('docker create --cidfile $TMP/web.cid nginx');
        assert.match(message, /[Cc]ontainer ID file found, make sure the other container isn't running or delete/);
        assert.equal(await book.ok('docker ps -aq | wc -l'), count);
      },
    },
    {
      it: 'keeps the files of clients apart in folders',
      run: async (book) => {
        await book.ok('mkdir -p $TMP/client-a $TMP/client-b');
        for (const client of ['client-a', 'client-b'])
          await book.ok(`docker create --cidfile $TMP/${client}/web.cid nginx && test -s $TMP/${client}/web.cid`);
        assert.notEqual(await book.ok('cat $TMP/client-a/web.cid'), await book.ok('cat $TMP/client-b/web.cid'));
      },
    },
    {
      it: 'tells the id of the latest container, short',
      run: async (book) => {
        const id = await book.ok('docker create nginx:latest');
        assert.equal(await book.ok('CID=$(docker ps --latest --quiet) && echo $CID'), id.slice(0, 12));
        assert.equal(await book.ok('CID=$(docker ps -l -q) && echo $CID'), id.slice(0, 12));
        book.env.CID = id;
      },
    },
    {
      it: 'tells it in full with --no-trunc',
      run: async (book) => {
        assert.equal(await book.ok('docker ps --latest --quiet --no-trunc'), book.env.CID);
        assert.match(await book.ok('docker ps --no-trunc'), /^[0-9a-f]{64} +nginx:latest +"nginx -g 'daemon off;'"/m);
      },
    },
    {
      it: 'makes up a name of an adjective and a surname for what is given none',
      run: async (book) => {
        assert.match(await book.ok("docker inspect -f '{{.Name}}' $CID"), /^\/[a-z]+_[a-z]+\d?$/);
      },
    },
    {
      it: 'takes a container through its states: created, running, paused, running, exited',
      run: async (book) => {
        const states: string[] = [];
        for (const step of ['', 'start', 'pause', 'unpause', 'stop']) {
          if (step !== '') assert.equal(await book.ok(`docker ${step} $CID`), book.env.CID);
          states.push(await book.ok("docker inspect -f '{{.State.Status}}' $CID"));
        }
        assert.deepEqual(states, ['created', 'running', 'paused', 'running', 'exited']);
      },
    },
    {
      it: 'runs no program in a paused container, and says why',
      run: async (book) => {
        await book.ok('docker pause webid');
        try {
          assert.match(
            await book.fails('docker exec webid ps'),
            /Container webid is paused, unpause the container before exec/,
          );
          assert.match(await book.ok('docker ps --filter name=webid'), / Up .* \(Paused\) /);
        } finally {
          await book.ok('docker unpause webid');
        }
      },
    },
    {
      it: 'lists the running ones, and all of them with -a',
      run: async (book) => {
        const running = await book.ok("docker ps --format '{{.Names}}'");
        const all = await book.ok("docker ps -a --format '{{.Names}} {{.Status}}'");
        assert.match(running, /^webid$/m);
        assert.doesNotMatch(running, /^webid-old$/m);
        assert.match(all, /^webid-old Exited \(0\) .* ago$/m);
        assert.match(all, /^[a-z]+_[a-z]+\d? Created$/m);
        assert.match(all, /^web_test Exited \(7\) .* ago$/m);
      },
    },
    {
      it: 'does not start an agent before what it links to runs',
      run: async (book) => {
        book.env.MAILER_CID = await book.ok('docker create dockerinaction/ch2_mailer');
        book.env.WEB_CID = await book.ok('docker create nginx');
        book.env.AGENT_CID = await book.ok(
          'docker create --link $WEB_CID:insideweb --link $MAILER_CID:insidemailer dockerinaction/ch2_agent',
        );
        const message = await book.fails('docker start $AGENT_CID');
        assert.match(message, /Cannot link to a non running container: \/\S+ AS \/\S+\/inside(web|mailer)/);
        assert.equal(await book.ok("docker inspect -f '{{.State.Running}}' $AGENT_CID"), 'false');
      },
    },
    {
      it: 'starts them in the order of their links',
      run: async (book) => {
        await book.ok('docker start $MAILER_CID && docker start $WEB_CID && docker start $AGENT_CID');
        await book.shows('docker logs $AGENT_CID', /System up\./);
      },
    },
    {
      it: 'builds no cycle: a link needs a container that is there',
      run: async (book) => {
        const message = await book.fails('docker create --name first --link second:second nginx');
        assert.match(message, /[Cc]ould not get container for second|No such container: second/);
      },
    },
    {
      it: 'starts a monitor of its own by a script',
      run: async (book) => {
        const script = [
          'set -e',
          'MAILER_CID=$(docker run -d dockerinaction/ch2_mailer)',
          'WEB_CID=$(docker run -d nginx)',
          'AGENT_CID=$(docker run -d --link $WEB_CID:insideweb --link $MAILER_CID:insidemailer dockerinaction/ch2_agent)',
          'echo $AGENT_CID',
        ].join('\n');
        book.env.AGENT_CID = await book.ok(script);
        await book.shows('docker logs $AGENT_CID', /System up\./);
      },
    },
  ],
};
