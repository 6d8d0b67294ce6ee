/** A controller that is killed before each single thing that it does, and the next one: no start and no count is lost or doubled. */
import assert from 'node:assert/strict';
import { until } from '../until.ts';
import { Mortal } from './mortal.ts';
import { type Rig, useRig } from './rig.ts';

interface Story {
  readonly title: string;
  readonly checkpoint: 'as it was' | 'written';
  /** Ends of its runs, in order; those after them go on. */
  readonly crashes: number;
  readonly spec: Record<string, unknown>;
  /** What its user wants of it, one after the other. */
  readonly wishes: readonly { readonly spec: Record<string, unknown>; readonly state: 'Running' | 'Exited' }[];
  readonly runs: number;
  readonly restartCount: number;
}

const crashLoop = {
  crashes: 2,
  spec: { backoff: { initial: '1ms', max: '2ms' } },
  wishes: [],
  runs: 3,
  restartCount: 2,
};
const stories: readonly Story[] = [
  { ...crashLoop, title: 'restarts what crashes, with the checkpoint of that moment', checkpoint: 'as it was' },
  { ...crashLoop, title: 'restarts what crashes, with all that it knew on disk', checkpoint: 'written' },
  {
    title: 'stops, starts and replaces what its user wants to be so',
    checkpoint: 'as it was',
    crashes: 0,
    spec: {},
    wishes: [
      { spec: { desiredState: 'Stopped' }, state: 'Exited' },
      { spec: { desiredState: 'Running' }, state: 'Running' },
      { spec: { image: 'app:2' }, state: 'Running' },
    ],
    runs: 3,
    restartCount: 0,
  },
];

describe('a controller that is killed before any of its effects', function () {
  this.timeout(240_000);
  const rig: Rig = useRig();
  let mortal: Mortal;
  beforeEach(() => {
    mortal = new Mortal(rig);
  });
  afterEach(() => mortal.release());
  for (const story of stories)
    it(`${story.title}, once each`, async () => {
      let kills = 0;
      for (let at = 1, wasKilled = true; wasKilled; at += 1) {
        const name = `web-${at}`;
        let runs = 0;
        wasKilled = false;
        rig.behaviours.set(name, (earlier) => {
          runs += 1;
          return earlier < story.crashes ? { exitAfterMs: 2, exitCode: 7 } : {};
        });
        await mortal.begin(story.checkpoint);
        mortal.dieAt(at);
        await rig.create(name, story.spec);
        const reached = async (wanted: Story['wishes'][number]): Promise<void> => {
          const isThere = async (): Promise<boolean> => {
            const { status, metadata } = await rig.get(name);
            const isSeen = status?.observedGeneration === metadata.generation;
            return isSeen && status?.state === wanted.state && status.restartCount === story.restartCount;
          };
          await until(async () => mortal.isDead || (await isThere()), `${name} to be ${wanted.state}`);
          if (!mortal.isDead) return;
          kills += 1;
          wasKilled = true;
          const killedAt = mortal.done.at(-1);
          await mortal.begin(story.checkpoint);
          await until(isThere, 'it').catch(async (error: unknown) => {
            const status = JSON.stringify((await rig.get(name)).status);
            throw new Error(`killed before effect ${at} (${killedAt}): ${status} after ${runs} runs`, { cause: error });
          });
        };
        await reached({ spec: {}, state: 'Running' });
        for (const wish of story.wishes) {
          await rig.patch(name, { spec: wish.spec });
          await reached(wish);
        }
        mortal.dieAt(Infinity);
        assert.equal(runs, story.runs, `runs of ${name}, whose controller was killed at effect ${at}`);
        await rig.remove(name);
        await rig.gone(name);
      }
      assert.ok(kills >= 6, `killed ${kills} times only`);
    });
});
