import assert from 'node:assert/strict';
import { ContainerConfigError } from '../../runtime/index.ts';
import type { OciMount } from '../../runtime/kernel-mounts.ts';
import { lookUpUser, refuseRoot } from '../../runtime/user.ts';
import { placeOf } from '../../runtime/user-files.ts';

const passwd = 'root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/var/www:\n# comment\nbroken:x:a:b\n1000:x:7:7::/odd:\n';
const group = 'root:x:0:\nadm:x:4:web,other\nwww:x:34:\nextra:x:50:web\nwheel:x:10:root\n';

describe('lookUpUser', () => {
  const cases = [
    { user: '', want: { uid: 0, gid: 0, additionalGids: [10], home: '/root' } },
    { user: 'web', want: { uid: 33, gid: 34, additionalGids: [4, 50], home: '/var/www' } },
    { user: '33', want: { uid: 33, gid: 34, additionalGids: [4, 50], home: '/var/www' } },
    { user: 'web:adm', want: { uid: 33, gid: 4, additionalGids: [], home: '/var/www' } },
    { user: 'web:99', want: { uid: 33, gid: 99, additionalGids: [], home: '/var/www' } },
    { user: '500', want: { uid: 500, gid: 0, additionalGids: [], home: '/' } },
    { user: '500:600', want: { uid: 500, gid: 600, additionalGids: [], home: '/' } },
    { user: '1000', want: { uid: 7, gid: 7, additionalGids: [], home: '/odd' } },
  ];
  for (const c of cases) {
    it(`finds "${c.user}"`, () => assert.deepEqual(lookUpUser({ user: c.user, passwd, group }), c.want));
  }
  const wider = [
    {
      it: 'puts a group in place of the own one, and keeps those that list the user',
      given: { user: 'web', primaryGroup: 'adm' },
      want: { uid: 33, gid: 4, additionalGids: [4, 50], home: '/var/www' },
    },
    {
      it: 'puts it in place of the one beside the user, too',
      given: { user: 'web:adm', primaryGroup: '0' },
      want: { uid: 33, gid: 0, additionalGids: [], home: '/var/www' },
    },
    {
      it: 'adds groups by name and number, each once',
      given: { user: '33', moreGroups: ['wheel', '77', '4', '77'] },
      want: { uid: 33, gid: 34, additionalGids: [4, 50, 10, 77], home: '/var/www' },
    },
  ];
  for (const c of wider) it(c.it, () => assert.deepEqual(lookUpUser({ ...c.given, passwd, group }), c.want));
  for (const [field, given] of [
    ['group', { user: 'web', primaryGroup: 'nope' }],
    ['groups', { user: 'web', moreGroups: ['adm', 'nope'] }],
  ] as const)
    it(`names the field ${field} for a group that is not there`, () => {
      assert.throws(
        () => lookUpUser({ ...given, passwd, group }),
        (error) => error instanceof ContainerConfigError && error.field === field && error.message.includes('"nope"'),
      );
    });
  it('takes root and numbers when the image has no files', () => {
    assert.deepEqual(lookUpUser({ user: '', passwd: '', group: '' }), {
      uid: 0,
      gid: 0,
      additionalGids: [],
      home: '/',
    });
    assert.equal(lookUpUser({ user: '12', passwd: '', group: '' }).uid, 12);
  });
  for (const user of ['nobody', 'web:nogroup', '99999999999', 'broken', '-1']) {
    it(`refuses "${user}", naming the field`, () => {
      assert.throws(
        () => lookUpUser({ user, passwd, group }),
        (error) => error instanceof ContainerConfigError && error.field === 'user',
      );
    });
  }
});

describe('refuseRoot', () => {
  it('refuses uid 0 under whatever name, and nobody else', () => {
    const odd = 'toor:x:0:5::/:\n';
    for (const user of ['', '0', 'toor'])
      assert.throws(
        () => refuseRoot(lookUpUser({ user, passwd: odd, group })),
        (error) => error instanceof ContainerConfigError && error.field === 'refusesRoot',
      );
    refuseRoot(lookUpUser({ user: '33', passwd, group }));
  });
});

describe('placeOf', () => {
  const bind = (destination: string, source: string): OciMount => ({
    destination,
    type: 'bind',
    source,
    options: ['rbind'],
  });
  const tmpfs: OciMount = { destination: '/etc', type: 'tmpfs', source: 'tmpfs', options: ['nosuid'] };
  const cases: { it: string; mounts: OciMount[]; want: { root: string; path: string } | undefined }[] = [
    { it: 'is the root without mounts', mounts: [], want: { root: '/root', path: '/etc/passwd' } },
    {
      it: 'heeds no mount beside it',
      mounts: [bind('/et', '/x'), bind('/etc/passwd2', '/x')],
      want: { root: '/root', path: '/etc/passwd' },
    },
    {
      it: 'is in a folder that is mounted over it',
      mounts: [bind('/etc/', '/v/conf')],
      want: { root: '/v/conf', path: '/passwd' },
    },
    {
      it: 'is a file that is mounted over it',
      mounts: [bind('/etc/passwd', '/v/users')],
      want: { root: '/v', path: '/users' },
    },
    {
      it: 'is in the innermost of several',
      mounts: [bind('/etc/passwd', '/v/users'), tmpfs],
      want: { root: '/v', path: '/users' },
    },
    { it: 'is nowhere in fresh memory', mounts: [tmpfs], want: undefined },
  ];
  for (const c of cases) it(c.it, () => assert.deepEqual(placeOf('/etc/passwd', '/root', c.mounts), c.want));
});
