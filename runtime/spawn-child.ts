/** Spawns a program whose streams are ours, also where there are no file descriptors left for them. Effects. */
import { spawn } from 'node:child_process';
import { describeSpawnError } from './command.ts';
import { RuntimeOperationError } from './errors.ts';

/**
 * As spawn, but when Node gives up for want of file descriptors this throws RuntimeOperationError: it returns a child
 * without any streams then, and its error comes later as an event that nobody listens to, which would end the daemon.
 */
// The overloads are those of spawn, whose arguments are passed on as they are.
export const spawnChild = ((program: string, args: readonly string[], options: Parameters<typeof spawn>[2]) => {
  const child = spawn(program, args, options);
  if (Reflect.get(child, 'stdio') !== undefined) return child;
  child.on('error', () => {}); // told by what is thrown
  const shortage = Object.assign(new Error('no file descriptor is left (EMFILE)'), { code: 'EMFILE' });
  throw new RuntimeOperationError('spawn', describeSpawnError(program, shortage), { cause: shortage });
}) as typeof spawn;
