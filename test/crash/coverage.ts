/**
 * Which lines of the runtime change the host, and which of them no program was killed at. The lines come from the text of
 * the code, so that a new one cannot be forgotten. Effects: reads the sources, and writes the list.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** Calls that change something outside of this process, as they are written. */
const changing = new RegExp(
  [
    // Node's own; those that read are not among them.
    /(?<![.\w])(?:mkdir|mkdtemp|writeFile|appendFile|rename|rm|rmdir|unlink|symlink|link|chown|lchown|chmod|truncate|utimes|lutimes|cp|copyFile)(?:Sync)?\(/,
    /(?<![.\w])(?:createWriteStream|writeSync|spawn|spawnChild|runCommand|runSuccessfully|runTool)\(/,
    // Our own for several of them.
    /(?<![.\w])(?:replaceFile|removeTree|removeDrafts|forceDelete|releaseStart)\(/,
    /\bpipe\.write\(/,
    /\bhandle\.(?:write|writeFile|truncate|datasync|chmod|chown)\(/,
    /\b[sS]yscalls\.(?:mount|bindBeneath|mkdirBeneath|unmount|createNetns|createNetnsOf|createUserNamespace|mountMappedOverlay|mountOutOf|mountInto|kill)\(/,
    /\bcommands\.(?:copy|copyOut|addNames|setNames|deleteImage|deleteLayer|unmount)\(/,
  ]
    .map(({ source }) => source)
    .join('|'),
);

export interface Site {
  /** FILE:LINE. */
  readonly at: string;
  readonly file: string;
  /** What is called. */
  readonly call: string;
  readonly text: string;
}

interface Excuse {
  readonly file: RegExp;
  /** Default: all of the file. */
  readonly text?: RegExp;
  readonly because: string;
}

/** What no program comes to that nobody killed. */
export const excuses: readonly Excuse[] = [
  {
    file: /\/drift-(?:repair|watch|facts)\.ts$/,
    because: 'it puts back what others took away, and the next look finds that again (drift.test.ts)',
  },
  { file: /\/teardown\.ts$/, because: 'holdfast down, which one does again until it succeeds' },
  { file: /\/log-(?:files|trim)\.ts$/, because: 'logs are rotated when they are long (logs.test.ts)' },
  {
    file: /\/(?:recovery|images\/stale-files)\.ts$/,
    because: 'only a recovery comes here; make crash kills those as well',
  },
  {
    file: /\/(?:atomic-file|run|oci-runtime|netns-pool|resolver|instance|file-volume)\.ts$/,
    text: /^for \(const (?:name|process) of |^else (?:if \(existsSync\(paths\.ociState\)\) )?await (?:forceDelete|rm)\(|'remove', command|owner === name|^await rm\(join\(folder, name\)|SIGTERM|^await syscalls\.kill\(process, SIGKILL|rm\(pooled|rename\(draft/,
    because: 'only a recovery comes here; make crash kills those as well',
  },
  { file: /\/container-entry\.ts$/, text: /^rmSync\(/, because: 'a full disk (faults.test.ts)' },
  {
    file: /\/run\.ts$/,
    text: /^await deps\.syscalls\.kill\(process, SIGKILL/,
    because: 'a monitor that is not wanted, or does not end with its container: it has made nothing, or nothing more',
  },
  {
    file: /\/(?:cgroups|freezer|foreign-ports|host-firewall|oci-runtime|overlay|user-namespace)\.ts$/,
    text: /layout\.root, \.\.\.parts|`\+\$\{name\}`|^await rmdir\(folder\)|'nat'|verb, chain|'start', input\.id|mkdir\(relativeTo|join\(relativeTo|'\/dev\/null', 0o666/,
    because: 'another kind of host: cgroup v2, a firewall, runc, many layers, a damaged /dev/null',
  },
  {
    file: /\/(?:container-setup|container-start|host-network|netns-pool|debug-sessions|container-exec|relay-host)\.ts$/,
    text: /ImageNotPresentError|isStale|^await replaceFile\(paths\.record|lastRun, \{ force|^await rm\(dir,|stray|^await runSuccessfully\('network', \['ip'|'(?:publish|network|network_detach)', command|hairpin|spawnChild\('perl'/,
    because: 'after a failure, or what others did: each start makes all of it anew',
  },
  {
    file: /\/instance\.ts$/,
    text: /\$\{path\}\.new/,
    because: 'the id of the instance, which is made before there is anything else',
  },
  {
    file: /\/images\//,
    text: /symlink\(source|decompress|rm\(from\)|deleteLayer|rm\(path, \{ recursive|commands\.copy\(|deleteImage\(record\.id\)|addNames|runTool\(run\)|'umount'/,
    because:
      'compressed archives, several names, damaged images and old layers (images-archives, images-faults, images-collection)',
  },
  {
    file: /\/(?:tree-size|host-firewall|images\/registry-client)\.ts$/,
    text: /'du'|'-S'|^(?:const result = await )?runTool\(/,
    because:
      'it only looks: how large a folder is, what a registry has, whether it knows a user, which rules there are',
  },
  {
    file: /\/images\/(?:root-fs-import|archives)\.ts$/,
    text: /layout|blobs|createWriteStream\(to|rm\(beside|^await rm\(given\)|await rename\(/,
    because: 'a scratch folder, which is removed; what is taken in from it is imported like any archive',
  },
  {
    file: /\/isolation\.ts$/,
    text: /formatListing|formatIsolation\(this\.#deps, \[\]\)/,
    because: 'tables that the next start makes anew, and a list of them',
  },
  {
    file: /\/volumes\//,
    text: /lchown|0o6000|^else await unlink|directory-or-create|kind\.mode|'du'|mkdir\(data|chmod\(data, how|marker|globalName/,
    because: 'other kinds of volumes and contents (volumes.test.ts)',
  },
];

/** Pure. Comments, imports and definitions of functions are no calls. */
export function findSites(file: string, text: string): readonly Site[] {
  return text.split('\n').flatMap((line, index) => {
    const code = line.trim();
    if (/^(?:\*|\/\*|\/\/|import |export (?:async )?function |(?:async )?function |async [a-zA-Z]+\()/.test(code))
      return [];
    const call = changing.exec(code.replace(/\/\/ .*$/, ''))?.[0].slice(0, -1);
    return call === undefined ? [] : [{ at: `${file}:${index + 1}`, file, call, text: code }];
  });
}

/** All lines of the runtime that change the host, without those that are excused. */
export function observeSites(): readonly Site[] {
  const files = readdirSync(join(root, 'runtime'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.startsWith('simulated/'))
    .map((name) => join('runtime', name))
    .sort();
  return files.flatMap((file) => findSites(file, readFileSync(join(root, file), 'utf8')));
}

/** Pure. */
export function excuseFor({ file, text }: Pick<Site, 'file' | 'text'>): Excuse | undefined {
  return excuses.find((one) => one.file.test(file) && one.text?.test(text) !== false);
}

/** How many calls of each kind there are in a file: FILE CALL → count. Lines move, so they are not told apart. Pure. */
export function countCalls(sites: readonly Site[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { file, call } of sites) counts[`${file} ${call}`] = (counts[`${file} ${call}`] ?? 0) + 1;
  return counts;
}

const listFile = fileURLToPath(new URL('./changes.json', import.meta.url));

/** What `make crash` came to when its list was last accepted. */
export function readList(): Readonly<Record<string, number>> {
  return JSON.parse(readFileSync(listFile, 'utf8')) as Record<string, number>; // written below
}

export function writeList(sites: readonly Site[]): void {
  writeFileSync(listFile, `${JSON.stringify(countCalls(sites), undefined, 2)}\n`);
}
