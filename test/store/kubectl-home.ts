/** kubectl as the administrator of a store under test, with a home of its own. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Store } from '../../store/index.ts';
import { type CommandResult, run } from '../instance.ts';

export interface KubectlHome {
  /** Where documents may lie; kubectl runs there. */
  readonly dir: string;
  readonly env: Readonly<Record<'HOME' | 'KUBECONFIG', string>>;
  /** Never throws for an exit code. */
  run(...args: readonly string[]): Promise<CommandResult>;
  /** What it prints; it must succeed. */
  ok(...args: readonly string[]): Promise<string>;
  close(): Promise<void>;
}

/** `more`: further variables of its environment. */
export async function createKubectlHome(
  program: string,
  { adminKubeconfigPath }: Pick<Store, 'adminKubeconfigPath'>,
  more: Readonly<Record<string, string>> = {},
): Promise<KubectlHome> {
  const dir = await mkdtemp(join(tmpdir(), 'holdfast-kubectl-'));
  const env = { HOME: dir, KUBECONFIG: adminKubeconfigPath, ...more };
  const runIt = (...args: readonly string[]): Promise<CommandResult> => run(program, args, { env, cwd: dir });
  return {
    dir,
    env,
    run: runIt,
    ok: async (...args) => {
      const { code, stdout, stderr } = await runIt(...args);
      assert.equal(code, 0, `kubectl ${args.join(' ')}: ${stdout}${stderr}`);
      return stdout;
    },
    close: () => rm(dir, { recursive: true, force: true }),
  };
}
