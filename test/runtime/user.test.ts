import assert from 'node:assert/strict';
import { ContainerConfigError } from '../../runtime/index.ts';
import { lookUpUser } from '../../runtime/user.ts';

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
