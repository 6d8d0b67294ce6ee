/**
 * Users and groups of a container, looked up in the passwd and group files of its own root.
 * Pure: takes the files' text. Source: passwd(5), group(5); the rules are Docker's (runc's libcontainer/user).
 */
import { ContainerConfigError } from './interface.ts';

export interface ProcessUser {
  readonly uid: number;
  readonly gid: number;
  readonly additionalGids: readonly number[];
  readonly home: string;
}

export interface UserInput {
  /** name|uid[:group|gid]; '' is root. */
  readonly user: string;
  /** Name or number of a group that counts in place of all others as the first one. */
  readonly primaryGroup?: string | undefined;
  /** Names or numbers of groups beside it. */
  readonly moreGroups?: readonly string[] | undefined;
  /** Text of /etc/passwd and /etc/group; '' when the image has none. */
  readonly passwd: string;
  readonly group: string;
}

interface PasswdEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

interface GroupEntry {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

const maxID = 2 ** 31 - 1;

function parseID(text: string | undefined): number | undefined {
  if (text === undefined || !/^[0-9]{1,10}$/.test(text)) return undefined;
  const id = Number(text);
  return id <= maxID ? id : undefined;
}

function parsePasswd(text: string): PasswdEntry[] {
  return text.split('\n').flatMap((line) => {
    const [name, , uidText, gidText, , home] = line.trim().split(':');
    const uid = parseID(uidText);
    const gid = parseID(gidText);
    if (name === undefined || uid === undefined || gid === undefined) return [];
    return [{ name, uid, gid, home: home ?? '' }];
  });
}

function parseGroup(text: string): GroupEntry[] {
  return text.split('\n').flatMap((line) => {
    const [name, , gidText, members] = line.trim().split(':');
    const gid = parseID(gidText);
    if (name === undefined || gid === undefined) return [];
    return [{ name, gid, members: (members ?? '').split(',').filter((member) => member !== '') }];
  });
}

/**
 * Who the process runs as. A name must be known; a number need not be. Without a group in `user` the passwd entry's counts
 * and the groups that list the user are added. Throws ContainerConfigError of user, group or groups.
 */
export function lookUpUser({ user, primaryGroup, moreGroups = [], passwd, group }: UserInput): ProcessUser {
  const users = parsePasswd(passwd);
  const groups = parseGroup(group);
  const [userPart = '', groupPart = ''] = user.split(':', 2);
  const wanted = userPart === '' ? '0' : userPart;
  const asNumber = parseID(wanted);
  const entry = users.find((candidate) => candidate.name === wanted) ?? users.find((u) => u.uid === asNumber);
  const uid = entry?.uid ?? asNumber;
  if (uid === undefined) {
    throw new ContainerConfigError(
      'user',
      `the image has no user "${wanted}" in /etc/passwd; use one that it has, or a number up to ${maxID}`,
    );
  }
  const gidOf = (text: string, field: string): number => {
    const gid = groups.find((candidate) => candidate.name === text)?.gid ?? parseID(text);
    if (gid !== undefined) return gid;
    throw new ContainerConfigError(
      field,
      `the image has no group "${text}" in /etc/group; use one that it has, or a number up to ${maxID}`,
    );
  };
  const own = groupPart === '' ? (entry?.gid ?? 0) : gidOf(groupPart, 'user');
  const gid = primaryGroup === undefined ? own : gidOf(primaryGroup, 'group');
  const name = entry?.name;
  const memberOf =
    groupPart === '' && name !== undefined ? groups.filter((g) => g.members.includes(name)).map((g) => g.gid) : [];
  return {
    uid,
    gid,
    additionalGids: [...new Set([...memberOf, ...moreGroups.map((text) => gidOf(text, 'groups'))])],
    home: entry === undefined || entry.home === '' ? '/' : entry.home,
  };
}

/** Throws ContainerConfigError for root. */
export function refuseRoot({ uid }: ProcessUser): void {
  if (uid !== 0) return;
  throw new ContainerConfigError(
    'refusesRoot',
    'it must not run as root, and the image and the configuration would have it run as uid 0; choose another user',
  );
}
