/** Which Debian packages an image needs: the pure part. */
import assert from 'node:assert/strict';
import { packagesNeeded, parseDependencies } from '../../examples/debian-packages.ts';

const shown = `Package: nginx
Version: 1.22.1-9
Depends: libc6 (>= 2.34), libssl3 | libssl1.1, iproute2, nginx-common (<< 1.22.1-9.1~), nginx-common (>= 1.22.1-9)
Description: small

Package: libc6
Pre-Depends: libpre
Depends: libgcc-s1

Package: libgcc-s1
Depends: gcc-12-base (= 12.2.0-14), libc6 (>= 2.35)
`;

describe('parseDependencies', () => {
  it('takes the first of each choice, without versions, from both kinds of fields', () => {
    const dependencies = parseDependencies(shown);
    assert.deepEqual(dependencies.get('nginx'), ['libc6', 'libssl3', 'iproute2', 'nginx-common', 'nginx-common']);
    assert.deepEqual(dependencies.get('libc6'), ['libpre', 'libgcc-s1']);
  });
  it('takes nothing from an empty answer', () => {
    assert.deepEqual([...parseDependencies('')], []);
  });
});

describe('packagesNeeded', () => {
  it('follows wanted dependencies to their end, each once, also in a circle', async () => {
    const asked: string[] = [];
    const needed = await packagesNeeded(['nginx'], /^lib/, async (names) => {
      asked.push(...names);
      return parseDependencies(shown);
    });
    assert.deepEqual(needed, ['libc6', 'libgcc-s1', 'libpre', 'libssl3', 'nginx']);
    assert.deepEqual([...asked].sort(), [...needed]);
  });
});
