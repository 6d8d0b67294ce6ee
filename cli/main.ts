/** bin/holdfast: reads arguments, environment and config file, and runs one command. The only place that does. Effects. */
import { readFileSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { load } from 'js-yaml';
import { destination, type Logger, pino } from 'pino';
import { containersPath, RenameError, rename } from '../client/index.ts';
import { ImageInUseError, ImageNotPresentError, ImagePullError, InstanceConflictError } from '../runtime/index.ts';
import { applyFolderOnce, DocumentError } from './apply-folder.ts';
import { type Config, ConfigError, options, parseConfig } from './config.ts';
import type { Daemon, Role } from './daemon.ts';
import { DebugError, debug, parseDebugArgs } from './debug.ts';
import { diagnose, formatFindings, observeHost } from './doctor.ts';
import { down } from './down.ts';
import { HeldError, parseHeldArgs, runHeld } from './held.ts';
import { imageUsage, parseImageCommand, runImageCommand } from './image-command.ts';
import { InstanceRunsError } from './instance-lock.ts';
import { loadKubeconfig } from './kubeconfig.ts';
import { startLive } from './live.ts';
import { openLogFile } from './log-file.ts';
import { parseRenameArgs } from './rename-args.ts';
import { parseStoreCommand, StoreCommandError, storeUsage } from './store-args.ts';

/** A part of the daemon could not be started, for a reason that its message tells the user. */
class StartError extends Error {
  override readonly name = 'StartError';
}

const closeDeadlineMs = 20_000;
const renameDeadlineMs = 60_000;

const usage = `holdfast keeps this host's containers the way their spec documents say.

Usage: holdfast COMMAND [--FLAG VALUE ...]

Commands:
  up           store and controller in one process, for one host
  store        the store alone; and its backup, restore, check, rotate-key (holdfast store --help)
  controller   the controller alone, for an API server elsewhere (--kubeconfig)
  down         end the daemon and its containers, and clean up the host; objects, volumes and images stay
  image        list, pull, remove, import and export this host's images (holdfast image --help)
  rename OLD NEW [-n NAMESPACE]
               give a container another name while it runs on
  debug NAME [-n NAMESPACE] [-- PROGRAM ARGUMENT…]
               a shell, or another program, in a container whose own program is down
  held [list | restore | confirm]
               containers that run on although the store has lost their objects: put those back, or end them
  doctor       say what this host lacks, and how to get it

Flags (each is also a key of the config file, and HOLDFAST_… in the environment):
${Object.entries(options)
  .map(
    ([key, { value, help, fallback }]) =>
      `  --${`${key} ${value}`.padEnd(28)} ${help}${fallback === undefined ? '' : ` (${fallback})`}`,
  )
  .join('\n')}
  --live                         show the containers on the terminal; the log goes to DATA-DIR/holdfast.log
`;

function readConfigFile(path: string): Readonly<Record<string, unknown>> {
  try {
    const parsed = load(readFileSync(path, 'utf8'));
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) return { ...parsed };
  } catch (error) {
    throw new ConfigError(
      `the config file "${path}" cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
  throw new ConfigError(`the config file "${path}" must hold keys and values, such as \`data-dir: /srv/holdfast\``);
}

async function runDaemon(role: Role, config: Config): Promise<void> {
  const log = config.isLive
    ? pino({ level: config.logLevel }, openLogFile(join(config.dataDir, 'holdfast.log')))
    : pino({ level: config.logLevel }, destination({ fd: 2, sync: true }));
  process.on('uncaughtException', (error) => die(log, error));
  process.on('unhandledRejection', (error) => die(log, error));
  const stop = new AbortController();
  const ended = new Promise<NodeJS.Signals>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
      process.on(signal, () => {
        if (stop.signal.aborted) process.exit(130); // Asked twice: at once.
        stop.abort(new Error(`ended by ${signal}`));
        resolve(signal);
      });
    }
  });
  // Loaded only here: it brings a third of all modules along, which no other command needs.
  const { isStartError, startDaemon } = await import('./daemon.ts');
  const daemon = await startDaemon(role, config, log).catch((error: unknown) => {
    throw isStartError(error) ? new StartError(error.message, { cause: error }) : error;
  });
  flushCompileCache();
  const live = await present(daemon, config, log, stop.signal);
  const signal = await ended;
  log.info({ signal }, 'stopping; the containers go on');
  const deadline = setTimeout(() => die(log, new Error('the daemon could not be closed within 20 s')), closeDeadlineMs);
  await live?.close();
  await daemon.close();
  clearTimeout(deadline);
}

/** Applies the folder that was given, and shows the live picture if asked. */
async function present(
  daemon: Daemon,
  config: Config,
  log: Logger,
  signal: AbortSignal,
): Promise<{ close(): Promise<void> } | undefined> {
  const { access, runtime, store } = daemon;
  if (access === undefined) return undefined;
  const canApply = store !== undefined || config.kubeconfig !== undefined;
  if (config.apply !== undefined && canApply) {
    const created = await applyFolderOnce(
      { access, folder: config.apply, markerFile: join(config.dataDir, 'applied') },
      signal,
    );
    log.info({ created, folder: config.apply }, 'spec documents applied');
  }
  if (!config.isLive || runtime === undefined || store === undefined) return undefined;
  const { dataDir } = config;
  const curl = `curl --cacert ${dataDir}/pki/ca.crt -H "Authorization: Bearer $(cat ${dataDir}/pki/admin-token)"`;
  const hints = [
    `Look:   export KUBECONFIG=${store.adminKubeconfigPath}; kubectl get ctr -w; kubectl describe ctr web; kubectl get events`,
    ...(config.docker === undefined
      ? []
      : [`Docker: export DOCKER_HOST=unix://${config.docker.socket}; docker ps; docker logs -f agent`]),
    `Ask:    ${curl} ${store.url}${containersPath.replace('/containers', '/namespaces/default/containers')}/agent/log`,
    `Break:  kill -9 $(kubectl --kubeconfig ${store.adminKubeconfigPath} get ctr web -o jsonpath={.status.pid})   and see it heal`,
  ];
  return startLive({ access, runtime, out: process.stdout, hints, log });
}

function die(log: Logger, error: unknown): void {
  log.fatal(
    { err: error },
    'holdfast ends because of an error that nothing handles; containers go on, and the next start adopts them',
  );
  process.exit(1);
}

async function main(): Promise<void> {
  const [command, ...args] = process.argv.slice(2);
  // What follows `--` is another program's.
  const ownArgs = args.includes('--') ? args.slice(0, args.indexOf('--')) : args;
  if (
    command === undefined ||
    command === 'help' ||
    command === '--help' ||
    command === '-h' ||
    ownArgs.includes('--help')
  ) {
    process.stdout.write(command === 'image' ? imageUsage : command === 'store' ? storeUsage : usage);
    process.exitCode = command === undefined ? 2 : 0;
    return;
  }
  const configOf = (flags: readonly string[]): Config =>
    parseConfig({ args: flags, env: process.env, hostname: hostname(), readFile: readConfigFile });
  const config = (): Config => configOf(args);
  switch (command) {
    case 'store': {
      const { command: storeCommand, rest } = parseStoreCommand(args);
      const settings = configOf(rest);
      if (storeCommand === undefined) return await runDaemon(command, settings);
      const { runStoreCommand } = await import('./store-command.ts');
      const { stdin, stdout } = process;
      const say = (line: string): void => void process.stderr.write(`${line}\n`);
      process.exitCode = await runStoreCommand(storeCommand, { config: settings, stdin, stdout, say });
      return;
    }
    case 'up':
    case 'controller':
      return await runDaemon(command, config());
    case 'down':
      return await down(config(), pino({ level: 'warn' }, destination({ fd: 2, sync: true })), (line) =>
        process.stdout.write(`${line}\n`),
      );
    case 'image': {
      const { command: imageCommand, configArgs } = parseImageCommand(args, (name) => Object.hasOwn(options, name));
      const log = pino({ level: 'warn' }, destination({ fd: 2, sync: true }));
      const stop = new AbortController();
      for (const signal of ['SIGINT', 'SIGTERM'] as const)
        process.once(signal, () => stop.abort(new ConfigError(`ended by ${signal}`)));
      const say = (line: string): void => void process.stdout.write(`${line}\n`);
      const { stdin, stdout } = process;
      return await runImageCommand(
        imageCommand,
        { config: configOf(configArgs), stdin, stdout, say, log },
        stop.signal,
      );
    }
    case 'rename': {
      const { from, to, namespace, rest } = parseRenameArgs(args);
      const { kubeconfig, dataDir } = configOf(rest);
      const access = await loadKubeconfig(kubeconfig ?? join(dataDir, 'admin.kubeconfig'));
      await rename({ access, namespace, from, to, deadlineMs: renameDeadlineMs }, new AbortController().signal);
      process.stdout.write(`${namespace}/${from} is ${namespace}/${to} now\n`);
      return;
    }
    case 'held': {
      const { action, rest } = parseHeldArgs(args);
      const { kubeconfig, dataDir } = configOf(rest);
      const access = () => loadKubeconfig(kubeconfig ?? join(dataDir, 'admin.kubeconfig'));
      return await runHeld(action, { dataDir, access, say: (line) => void process.stdout.write(`${line}\n`) });
    }
    case 'debug': {
      const { rest, ...wanted } = parseDebugArgs(args);
      const { kubeconfig, dataDir } = configOf(rest);
      const access = await loadKubeconfig(kubeconfig ?? join(dataDir, 'admin.kubeconfig'));
      process.exitCode = await debug(access, wanted, process);
      return;
    }
    case 'doctor': {
      const findings = diagnose(observeHost(config().dataDir));
      process.stdout.write(formatFindings(findings));
      process.exitCode = findings.some(({ severity }) => severity === 'error') ? 1 : 0;
      return;
    }
    default:
      throw new ConfigError(`there is no command "${command}"; see holdfast --help`);
  }
}

try {
  await main();
} catch (error) {
  const isUsers = [
    ConfigError,
    InstanceRunsError,
    InstanceConflictError,
    DocumentError,
    RenameError,
    HeldError,
    StoreCommandError,
    DebugError,
    StartError,
    ImagePullError,
    ImageNotPresentError,
    ImageInUseError,
  ].some((known) => error instanceof known);
  process.stderr.write(
    `holdfast: ${error instanceof Error ? (isUsers ? error.message : (error.stack ?? error.message)) : String(error)}\n`,
  );
  // An error while starting must not leave the process hanging on what was opened.
  process.exit(error instanceof ConfigError ? 2 : 1);
}
