/** Every kind of drift of runtime/drift.ts, done to a daemon as it is run: found, healed, counted and told of. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type DriftKind, driftKinds, driftTable } from '../../runtime/index.ts';
import { harms, type Victim } from '../drift-harms.ts';
import { buildBusyboxImage } from '../images.ts';
import type { Instance } from '../instance.ts';
import { until } from '../until.ts';
import { useInstance } from './use-instance.ts';

const healDeadlineMs = 120_000;
/** Needs a host that drops what it does not know, as network-repair.test.ts makes one. */
const elsewhere: readonly DriftKind[] = ['firewall'];
/** What would get into each other's way comes one after the other. */
const later: readonly DriftKind[] = ['rules', 'bridge', 'image-layer'];
const together = driftKinds.filter((kind) => !elsewhere.includes(kind) && !later.includes(kind));

interface Event {
  readonly reason: string;
  readonly message: string;
  readonly involvedObject: { readonly kind: string; readonly name: string };
}

describe('what somebody changes on the host', function () {
  this.timeout(300_000);
  const running = useInstance({ images: 'none' });
  let instance: Instance;
  const nameOf = (kind: DriftKind): string => `of-${kind}`;

  async function victimOf(kind: DriftKind): Promise<Victim> {
    const { status } = await instance.waitFor(nameOf(kind), ({ state }) => state === 'Running', 'running');
    const { dataDir, runDir, bridge } = instance;
    const { containerID = '', pid = 0, podIP = '' } = status ?? {};
    return { id: containerID, pid, ip: podIP, dataDir, runDir, bridge };
  }

  before(async () => {
    instance = running();
    const { reference: image } = await buildBusyboxImage({ dir: instance.dataDir });
    for (const kind of [...together, ...later]) {
      await instance.create(nameOf(kind), {
        image,
        command: ['sh', '-c', 'trap "exit 0" TERM; i=0; while :; do i=$((i+1)); echo line $i; sleep 1; done'],
        ports: [{ containerPort: 80, hostPort: 0 }],
        volumes: [
          { name: 'named', volume: { name: nameOf(kind) } },
          { name: 'memory', emptyDir: { medium: 'Memory' } },
        ],
        volumeMounts: [
          { name: 'named', mountPath: '/named' },
          { name: 'memory', mountPath: '/memory' },
        ],
        backoff: { initial: '100ms', jitter: 0 },
        restart: { maxRetries: 1 },
        terminationGracePeriodSeconds: 2,
      });
    }
    for (const kind of [...together, ...later]) {
      const victim = await victimOf(kind);
      // The first look at a run remembers what it is like.
      const isLookedAt = (): boolean => existsSync(join(victim.runDir, 'containers', victim.id, 'oci-state'));
      await until(isLookedAt, `the first look at ${nameOf(kind)}`);
      await until(() => !harms[kind].isHarmed(victim), `all to be well before: ${kind}`);
    }
  });

  async function countOf(kind: DriftKind): Promise<number> {
    const line = (await instance.metrics())
      .split('\n')
      .find((one) => one.startsWith(`holdfast_drift_total{kind="${kind}"}`));
    assert.ok(line !== undefined, `there is a series for ${kind}`);
    return Number(line.split(' ').at(-1));
  }

  async function checkHealed(kind: DriftKind, victim: Victim, countBefore: number): Promise<void> {
    const { isHarmed } = harms[kind];
    const { of, what, remedy } = driftTable[kind];
    const name = nameOf(kind);
    if (remedy === 'restart') {
      const isAnew = async (): Promise<boolean> => {
        const { state, pid } = (await instance.get(name))?.status ?? {};
        return state === 'Running' && pid !== victim.pid;
      };
      await until(isAnew, `${name} to run anew`, healDeadlineMs);
    } else {
      await until(() => !isHarmed(victim), `${name} to be healed`, healDeadlineMs);
      assert.equal((await instance.get(name))?.status?.pid, victim.pid, `${name} runs on`);
    }
    await until(async () => (await countOf(kind)) > countBefore, `${kind} to be counted`, healDeadlineMs);
    const isTold = async (): Promise<boolean> => {
      const { items } = (await instance.api('GET', '/api/v1/namespaces/default/events')).json as { items: Event[] };
      return items.some(
        ({ reason, message, involvedObject }) =>
          reason === 'DriftCorrected' &&
          message.startsWith(what) &&
          (of === 'host' ? involvedObject.kind === 'Node' : involvedObject.name === name),
      );
    };
    await until(isTold, `an event about ${kind}`, healDeadlineMs);
  }

  const started = new Map<DriftKind, { victim: Victim; countBefore: number }>();
  async function inflict(kind: DriftKind): Promise<void> {
    const victim = await victimOf(kind);
    started.set(kind, { victim, countBefore: await countOf(kind) });
    harms[kind].inflict(victim);
  }
  async function check(kind: DriftKind): Promise<void> {
    const begun = started.get(kind);
    assert.ok(begun !== undefined);
    await checkHealed(kind, begun.victim, begun.countBefore);
  }

  describe('at the same time', () => {
    before(async () => {
      for (const kind of together) await inflict(kind);
    });
    for (const kind of together) {
      it(`${kind}: ${driftTable[kind].what}; Holdfast ${driftTable[kind].healedBy}`, () => check(kind));
    }
  });
  describe('one after the other', () => {
    for (const kind of later) {
      it(`${kind}: ${driftTable[kind].what}; Holdfast ${driftTable[kind].healedBy}`, async () => {
        await inflict(kind);
        await check(kind);
      });
    }
    it('leaves all of them running', async () => {
      for (const kind of [...together, ...later]) await victimOf(kind);
    });
  });
});
