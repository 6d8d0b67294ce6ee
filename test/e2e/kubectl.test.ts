/** What a Kubernetes user types, with the newest kubectl and with 1.20. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Instance } from '../instance.ts';
import { kubectl, kubectl120 } from '../tools.ts';
import { until } from '../until.ts';
import { useInstance } from './use-instance.ts';

const document = (name: string, extra = ''): string => `apiVersion: holdfast.dev/v1
kind: Container
metadata:
  name: ${name}
spec:
  image: localhost/busybox:latest
  imagePullPolicy: Never
  command: [sh, -c, 'trap "exit 0" TERM; while :; do sleep 1; done']
${extra}`;

describe('kubectl', function () {
  this.timeout(240_000);
  const running = useInstance();
  let instance: Instance;

  before(() => {
    instance = running();
  });

  const clients: { title: string; program: () => string; name: string; isOld: boolean }[] = [
    { title: 'the newest', program: kubectl, name: 'new', isOld: false },
    { title: '1.20', program: kubectl120, name: 'old', isOld: true },
  ];
  for (const { title, program, name, isOld } of clients) {
    describe(title, () => {
      const ok = async (
        args: readonly string[],
        options: { input?: string; env?: Record<string, string> } = {},
      ): Promise<string> => {
        const { code, stdout, stderr } = await instance.kubectl(args, { ...options, program: program() });
        assert.equal(code, 0, `kubectl ${args.join(' ')}: ${stderr}`);
        return stdout;
      };

      it('applies a document, says unchanged the second time, and configured after a change', async () => {
        assert.equal(
          await ok(['apply', '-f', '-'], { input: document(name) }),
          `container.holdfast.dev/${name} created\n`,
        );
        assert.equal(
          await ok(['apply', '-f', '-'], { input: document(name) }),
          `container.holdfast.dev/${name} unchanged\n`,
        );
        assert.equal(
          await ok(['apply', '-f', '-'], { input: document(name, '  terminationGracePeriodSeconds: 5\n') }),
          `container.holdfast.dev/${name} configured\n`,
        );
      });
      it('waits for a condition', async () => {
        assert.match(await ok(['wait', '--for=condition=Ready', `ctr/${name}`, '--timeout=60s']), /condition met/);
      });
      it('prints the columns of the resource', async () => {
        const lines = (await ok(['get', 'ctr', name])).split('\n');
        assert.deepEqual(lines[0]?.split(/\s{2,}/), [
          'NAME',
          'STATE',
          'REASON',
          'RESTARTS',
          'EXIT',
          'NEXT-RESTART',
          'IP',
          'NODE',
          'IMAGE',
          'AGE',
        ]);
        assert.match(
          lines[1] ?? '',
          new RegExp(
            `^${name}\\s+Running\\s+0\\s+10\\.\\d+\\.\\d+\\.\\d+\\s+\\S+\\s+localhost/busybox:latest\\s+\\d+(s|m(\\d+s)?)$`,
          ),
        );
      });
      it('follows changes with get -w', async () => {
        const child = spawn(
          program(),
          [
            '--kubeconfig',
            instance.kubeconfig,
            '--cache-dir',
            join(instance.dataDir, 'kubectl-cache'),
            'get',
            'ctr',
            '-w',
          ],
          { stdio: ['ignore', 'pipe', 'inherit'] },
        );
        let printed = '';
        child.stdout.on('data', (chunk: Buffer) => {
          printed += chunk.toString();
        });
        try {
          await until(() => printed.includes(name), 'the first list');
          await ok(['patch', 'ctr', name, '--type', 'merge', '-p', '{"spec":{"desiredState":"Stopped"}}']);
          await until(() => new RegExp(`^${name}\\s+Exited\\s+Stopped`, 'm').test(printed), 'the change');
          await ok([
            'patch',
            'ctr',
            name,
            '--type',
            'json',
            '-p',
            '[{"op":"replace","path":"/spec/desiredState","value":"Running"}]',
          ]);
          await instance.waitFor(name, ({ state }) => state === 'Running', 'running');
        } finally {
          child.kill('SIGKILL');
        }
      });
      it('describes spec, status and events', async () => {
        const text = await ok(['describe', 'ctr', name]);
        for (const part of [
          /^Name:\s+/m,
          /^Kind:\s+Container$/m,
          /Image:\s+localhost\/busybox:latest/,
          /State:\s+Running/,
          /Type:\s+Ready/,
          /Normal\s+Started\s+/,
        ])
          assert.match(text, part);
      });
      it('edits with an editor', async () => {
        const editor = join(instance.dataDir, `editor-${name}`);
        await writeFile(
          editor,
          '#!/bin/sh\nsed -i "s/terminationGracePeriodSeconds: 5/terminationGracePeriodSeconds: 6/" "$1"\n',
          { mode: 0o755 },
        );
        await ok(['edit', 'ctr', name], { env: { KUBE_EDITOR: editor } });
        assert.equal((await instance.get(name))?.spec.terminationGracePeriodSeconds, 6);
      });
      it('labels, annotates and selects', async () => {
        await ok(['label', 'ctr', name, 'tier=test']);
        await ok(['annotate', 'ctr', name, 'note=hello']);
        assert.equal(
          await ok(['get', 'ctr', '-l', 'tier in (test),tier!=x', '-o', 'name']),
          `container.holdfast.dev/${name}\n`,
        );
        await ok(['label', 'ctr', name, 'tier-']);
      });
      it('explains a field with its description and default', async () => {
        const text = await ok(['explain', 'ctr.spec.backoff']);
        assert.match(text, /The wait before a restart/);
        assert.match(text, /resetAfter/);
        assert.match(await ok(['explain', 'ctr.spec.backoff.factor']), /What the wait is multiplied by/);
      });
      it('lists resources, all namespaces and raw paths', async () => {
        assert.match(
          await ok(['api-resources', '--api-group=holdfast.dev']),
          /containers\s+ctr\s+holdfast\.dev\/v1\s+true\s+Container/,
        );
        assert.match(await ok(['get', 'all', '-A']), new RegExp(`default\\s+\\S*${name}\\s+Running`));
        assert.match(await ok(['get', 'ctr', name, '-o', 'yaml']), /observedGeneration:/);
        assert.equal(await ok(['get', 'ctr', name, '-o', 'jsonpath={.status.restartCount}']), '0');
      });
      it('shows events', async () => {
        assert.match(await ok(['get', 'events']), new RegExp(`container/${name}`));
      });
      it('shows its Pod as a kubelet would write it, the host as a Node, and what both use', async () => {
        assert.match(await ok(['wait', '--for=condition=Ready', `pod/${name}`, '--timeout=60s']), /condition met/);
        await until(async () => (await ok(['get', 'nodes', '-o', 'name'])) !== '', 'the Node is there');
        await ok(['wait', '--for=condition=Ready', 'node', '--all', '--timeout=60s']);
        const node = (await ok(['get', 'nodes', '-o', 'jsonpath={.items[*].metadata.name}'])).trim();
        assert.match(await ok(['get', 'nodes', '-o', 'wide']), new RegExp(`^${node}\\s+Ready\\s.*holdfast://`, 'm'));
        const running = await ok(['get', 'pods', `--field-selector=status.phase=Running,spec.nodeName=${node}`]);
        assert.match(running, new RegExp(`^${name}\\s+1/1\\s+Running\\s`, 'm'));
        const pod = await ok(['describe', 'pod', name]);
        for (const part of [/State:\s+Running/, /PodScheduled\s+True/, /Normal\s+Started\s/]) assert.match(pod, part);
        const facts = await ok(['describe', 'node', node]);
        for (const part of [
          /MemoryPressure\s+False/,
          /Ready\s+True/,
          /RenewTime:\s+\S/,
          new RegExp(`default\\s+${name}`),
        ])
          assert.match(facts, part);
        assert.match(await ok(['top', 'pod', name]), new RegExp(`^${name}\\s+\\d+m\\s+\\d+Mi`, 'm'));
        assert.match(await ok(['top', 'node', node]), new RegExp(`^${node}\\s+\\d+m\\s+\\d+%\\s+\\d+Mi\\s+\\d+%`, 'm'));
      });
      it('keeps configuration and secrets', async () => {
        await ok(['create', 'configmap', `cm-${name}`, '--from-literal=a=b']);
        await ok(['create', 'secret', 'generic', `s-${name}`, '--from-literal=a=b']);
        assert.equal(await ok(['get', 'secret', `s-${name}`, '-o', 'jsonpath={.data.a}']), 'Yg==');
        await ok(['delete', `configmap/cm-${name}`, `secret/s-${name}`]);
      });
      it('refuses an unknown field and a wrong type, naming them', async () => {
        const unknown = await instance.kubectl(['apply', '-f', '-'], {
          program: program(),
          input: document('bad', '  imagee: x\n'),
        });
        assert.notEqual(unknown.code, 0);
        assert.match(
          unknown.stderr,
          /unknown field "(Container\.)?(dev\.holdfast\.v1\.Container\.)?spec\.imagee"|unknown field "imagee"/,
        );
        const wrong = await instance.kubectl(['apply', '--validate=false', '-f', '-'], {
          program: program(),
          input: document('bad', '  backoff: { factor: "two" }\n'),
        });
        assert.notEqual(wrong.code, 0);
        assert.match(wrong.stderr, /spec\.backoff\.factor/);
        assert.equal(await instance.get('bad'), undefined);
      });
      it('works in a namespace of its own, and deletes it with what is in it', async () => {
        await ok(['create', 'namespace', `ns-${name}`]);
        await ok(['-n', `ns-${name}`, 'apply', '-f', '-'], { input: document('inside') });
        await ok(['-n', `ns-${name}`, 'wait', '--for=condition=Ready', 'ctr/inside', '--timeout=60s']);
        await ok(['delete', 'namespace', `ns-${name}`, '--timeout=60s']);
        const gone = await instance.kubectl(['-n', `ns-${name}`, 'get', 'ctr', '-o', 'name'], { program: program() });
        assert.equal(gone.stdout, '');
      });
      it('deletes and waits until the container is gone from the host', async () => {
        const pid = (await instance.get(name))?.status?.pid ?? -1;
        await ok(['delete', 'ctr', name, '--timeout=60s']);
        assert.throws(() => process.kill(pid, 0), /ESRCH/);
        const gone = await instance.kubectl(['get', 'ctr', name], { program: program() });
        assert.match(gone.stderr, /NotFound/);
      });
      if (!isOld) {
        it('shows events with its own command', async () => {
          assert.match(await ok(['events', '--for', `ctr/${name}`]), /Started|No events/);
        });
      }
    });
  }
});
