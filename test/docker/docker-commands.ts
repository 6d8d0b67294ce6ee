/** The docker of this machine, by an instance's socket: what it prints, or why it refused. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type CommandResult, type Instance, run } from '../instance.ts';
import { docker as program } from '../tools.ts';

export interface DockerCommands {
  socket(): string;
  /** Never throws for an exit code. */
  tryDocker(...args: string[]): Promise<CommandResult>;
  /** What it prints, trimmed; fails unless it exits with 0. */
  docker(...args: string[]): Promise<string>;
  /** What it prints on stderr; fails if it exits with 0. */
  refusal(...args: string[]): Promise<string>;
}

/** `configDir`: where docker keeps credentials; by default the instance's data dir. */
export function dockerCommands(instance: () => Instance, configDir?: () => string): DockerCommands {
  const socket = (): string => join(instance().runDir, 'docker.sock');
  const tryDocker = (...args: string[]): Promise<CommandResult> =>
    run(program(), ['--host', `unix://${socket()}`, ...args], {
      env: { DOCKER_CONFIG: configDir?.() ?? instance().dataDir },
    });
  return {
    socket,
    tryDocker,
    docker: async (...args) => {
      const { code, stdout, stderr } = await tryDocker(...args);
      assert.equal(code, 0, `docker ${args.join(' ')}: ${stderr}`);
      return stdout.trim();
    },
    refusal: async (...args) => {
      const { code, stderr } = await tryDocker(...args);
      assert.notEqual(code, 0, `docker ${args.join(' ')} succeeded`);
      return stderr;
    },
  };
}
