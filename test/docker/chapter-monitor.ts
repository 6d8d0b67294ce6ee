/** 'Docker in Action', chapter 2, sections 2.1 and 2.2: help, and the website monitor. */
import assert from 'node:assert/strict';
import type { Section } from './book.ts';

export const fullId = /^[0-9a-f]{64}$/;

export const help: Section = {
  title: '2.1 Help',
  checks: [
    {
      it: 'lists the commands, and talks to the engine in a version that both know',
      run: async (book) => {
        assert.match(await book.ok('docker help'), /^ {2}run +(Run a command in|Create and run) a new container/m);
        assert.match(await book.ok("docker version --format '{{.Server.APIVersion}}'"), /^1\.\d\d$/);
      },
    },
    {
      it: 'describes one command',
      run: async (book) => {
        assert.match(await book.ok('docker help cp'), /Usage: {2}docker cp \[OPTIONS\] CONTAINER:SRC_PATH/);
      },
    },
  ],
};

export const websiteMonitor: Section = {
  title: '2.2 A website monitor',
  checks: [
    {
      it: 'runs web detached: prints its id of 64 digits, returns, and the program goes on',
      run: async (book) => {
        const id = await book.ok('docker run --detach --name web nginx:latest');
        assert.match(id, fullId);
        assert.equal(await book.inspect('web', '{{.Id}} {{.State.Status}}'), `${id} running`);
      },
    },
    {
      it: 'runs the mailer detached, which waits for connections',
      run: async (book) => {
        assert.match(await book.ok('docker run -d --name mailer dockerinaction/ch2_mailer'), fullId);
        await book.shows('docker logs mailer', /^CH2 Example Mailer has started\.$/m);
      },
    },
    {
      it: 'runs a shell in a virtual terminal, from which web answers by its alias; exit ends both',
      run: async (book) => {
        const terminal = await book.terminal();
        await terminal.type('docker run --interactive --tty --link web:web --name web_test busybox:latest /bin/sh');
        await terminal.shows(/^\/ #$/m);
        await terminal.type('wget -O - http://web:80/ | head -n 5');
        // wget draws its progress among the lines.
        await terminal.shows(/<title>Welcome to nginx!<\/title>/);
        await terminal.type('exit 7');
        await terminal.shows(/exit 7\s+host>$/m);
        await terminal.type('echo "exit code $?"');
        await terminal.shows(/^exit code 7$/m);
        assert.equal(await book.inspect('web_test', '{{.State.Status}} {{.State.ExitCode}}'), 'exited 7');
      },
    },
    {
      it: 'runs the agent in a terminal, from which Ctrl-P Ctrl-Q detaches and leaves it running',
      run: async (book) => {
        const terminal = await book.terminal();
        await terminal.type(
          'docker run -it --name agent --link web:insideweb --link mailer:insidemailer dockerinaction/ch2_agent',
        );
        await terminal.shows(/^System up\.\s+System up\.$/m);
        await terminal.press('C-p');
        await terminal.press('C-q');
        await terminal.shows(/^(read escape sequence\s+)?host>$/m);
        assert.equal(await book.inspect('agent', '{{.State.Status}}'), 'running');
        const lines = (await book.ok('docker logs agent')).split('System up.').length;
        await book.shows('docker logs agent', new RegExp(`(System up\\.\\s+){${lines + 1}}`));
      },
    },
    {
      it: 'leaves a program running that was started by hand before detaching, and attaches to it again',
      run: async (book) => {
        const terminal = await book.terminal();
        await terminal.type('docker run -it --name by_hand busybox:latest /bin/sh');
        await terminal.shows(/^\/ #$/m);
        await terminal.type('while :; do echo still here; sleep 1; done');
        await terminal.shows(/^still here$/m);
        await terminal.press('C-p');
        await terminal.press('C-q');
        await terminal.shows(/^(read escape sequence\s+)?host>$/m);
        // What the first attachment showed has gone before the second shows the same.
        await terminal.type('clear; echo cleared');
        await terminal.shows(/^cleared\s+host>$/m);
        await terminal.type('docker attach by_hand');
        await terminal.shows(/^still here\s+still here$/m);
        await terminal.press('C-c');
        await terminal.shows(/^\/ #$/m);
        await terminal.resize(77, 33);
        // The docker command tells the new size beside the keys, perhaps after them.
        await terminal.type('until [ "$(stty size)" = "33 77" ]; do sleep 0.1; done; clear; stty size');
        await terminal.shows(/^33 77$/m);
        await terminal.type('exit 3');
        await terminal.shows(/exit 3\s+host>$/m);
        await terminal.type('echo "exit code $?"');
        await terminal.shows(/^exit code 3$/m);
      },
    },
    {
      it: 'lists the three with id, image, command, times, ports and name',
      run: async (book) => {
        const [header, ...rows] = (await book.ok('docker ps')).split('\n');
        assert.match(header ?? '', /^CONTAINER ID +IMAGE +COMMAND +CREATED +STATUS +PORTS +NAMES$/);
        const web = rows.find((row) => row.endsWith(' web'));
        assert.match(
          web ?? '',
          /^[0-9a-f]{12} +nginx:latest +"nginx -g 'daemon of…" +(About a|\d+) (second|minute)s? ago +Up .*(second|minute)s? +80\/tcp +web$/,
        );
        const names = rows.map((row) => row.split(/ +/).at(-1));
        assert.deepEqual(names, ['agent', 'mailer', 'web'], 'the newest first');
      },
    },
    {
      it: 'starts web again, which keeps its id and is tested on',
      run: async (book) => {
        const before = (await book.inspect('web', '{{.Id}} {{.State.StartedAt}}')).split(' ');
        assert.equal(await book.ok('docker restart web'), 'web');
        const after = (await book.inspect('web', '{{.Id}} {{.State.StartedAt}}')).split(' ');
        assert.equal(after[0], before[0]);
        assert.notEqual(after[1], before[1]);
        assert.equal(await book.inspect('web', '{{.State.Running}} {{.RestartCount}}'), 'true 0');
        await book.shows('docker logs --tail 1 agent', /System up\./);
      },
    },
    {
      it: 'starts mailer and agent again',
      run: async (book) => {
        assert.equal(await book.ok('docker restart mailer'), 'mailer');
        assert.equal(await book.ok('docker restart agent'), 'agent');
        await book.shows('docker logs mailer', /(CH2 Example Mailer has started\.[\s\S]*){2}/);
        await book.shows('docker logs --since 2s agent', /System up\./);
      },
    },
    {
      it: 'shows the requests of the agent in the log of web',
      run: async (book) => {
        await book.shows('docker logs web', /"GET \/ HTTP\/1\.0" 200 /);
      },
    },
    {
      it: 'keeps what a program says on its two outputs apart',
      run: async (book) => {
        const { stdout, stderr } = await book.sh('docker logs web');
        assert.match(stdout, /"GET \/ HTTP\/1\.0" 200 /);
        assert.doesNotMatch(stdout, /start worker process/);
        assert.match(stderr, /start worker process/);
      },
    },
    {
      it: 'follows a log until it is interrupted',
      run: async (book) => {
        // On a busy machine the agent may find the system down in between.
        const lines = await book.ok("docker logs -f --tail 0 agent | grep -m 2 '^System up'");
        assert.match(lines, /^System up\.\r?\nSystem up\.$/);
      },
    },
    {
      it: 'has the agent notice when web is stopped, and the mailer mail it',
      run: async (book) => {
        const mail = 'Sending email: To: admin@work Message: The service is down!';
        // The agent may have met web during its restart.
        const before = (await book.ok('docker logs mailer')).split(mail).length - 1;
        assert.equal(await book.ok('docker stop web'), 'web');
        assert.equal(await book.inspect('web', '{{.State.Status}} {{.State.ExitCode}}'), 'exited 0');
        await book.shows('docker logs mailer', new RegExp(`(${mail}$[\\s\\S]*){${before + 1}}`, 'm'));
        await book.shows('docker logs agent', /System down\./);
      },
    },
  ],
};
