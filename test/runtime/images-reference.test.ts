/** Image references: docker's normalisation by table, hostile names by property. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { parseImageID, parseReference } from '../../runtime/images/reference.ts';
import { ImagePullError } from '../../runtime/interface.ts';

const digest = `sha256:${'a1'.repeat(32)}`;

const good: readonly { it: string; given: string; canonical: string; registry?: string }[] = [
  {
    it: 'takes a word for an official image of Docker Hub',
    given: 'nginx',
    canonical: 'docker.io/library/nginx:latest',
    registry: 'docker.io',
  },
  { it: 'keeps a tag', given: 'nginx:1.25-alpine', canonical: 'docker.io/library/nginx:1.25-alpine' },
  {
    it: 'takes two words for an image of a user',
    given: 'dockerinaction/ch2_mailer',
    canonical: 'docker.io/dockerinaction/ch2_mailer:latest',
  },
  { it: 'accepts docker:// before a name', given: 'docker://busybox', canonical: 'docker.io/library/busybox:latest' },
  { it: 'completes docker.io/x', given: 'docker.io/nginx', canonical: 'docker.io/library/nginx:latest' },
  { it: 'knows the old name of Docker Hub', given: 'index.docker.io/a/b', canonical: 'docker.io/a/b:latest' },
  {
    it: 'knows localhost for a registry',
    given: 'localhost/nginx',
    canonical: 'localhost/nginx:latest',
    registry: 'localhost',
  },
  {
    it: 'knows localhost with a port',
    given: 'localhost:5000/nginx:2',
    canonical: 'localhost:5000/nginx:2',
    registry: 'localhost:5000',
  },
  { it: 'takes localhost alone for an image', given: 'localhost', canonical: 'docker.io/library/localhost:latest' },
  {
    it: 'takes name:number for a tag, not a port',
    given: 'localhost:5000',
    canonical: 'docker.io/library/localhost:5000',
  },
  {
    it: 'knows a first part with a dot for a registry',
    given: 'quay.io/a/b/c:x',
    canonical: 'quay.io/a/b/c:x',
    registry: 'quay.io',
  },
  {
    it: 'knows a first part with a port for a registry',
    given: 'reg:5000/a',
    canonical: 'reg:5000/a:latest',
    registry: 'reg:5000',
  },
  {
    it: 'knows a first part with upper case for a registry',
    given: 'Registry/a',
    canonical: 'Registry/a:latest',
    registry: 'Registry',
  },
  {
    it: 'knows an IPv4 registry',
    given: '10.0.0.1:5000/a',
    canonical: '10.0.0.1:5000/a:latest',
    registry: '10.0.0.1:5000',
  },
  { it: 'knows an IPv6 registry', given: '[::1]:5000/a', canonical: '[::1]:5000/a:latest', registry: '[::1]:5000' },
  { it: 'keeps a digest', given: `a/b@${digest}`, canonical: `docker.io/a/b@${digest}` },
  {
    it: 'drops the tag beside a digest, as docker does',
    given: `a/b:1@${digest}`,
    canonical: `docker.io/a/b@${digest}`,
  },
  {
    it: 'keeps separators inside a name',
    given: 'a.b_c__d-e---f',
    canonical: 'docker.io/library/a.b_c__d-e---f:latest',
  },
  { it: 'keeps upper case in a tag', given: 'a:V1.0_X-y', canonical: 'docker.io/library/a:V1.0_X-y' },
  { it: 'takes oci:1.2 for the image oci', given: 'oci:1.2', canonical: 'docker.io/library/oci:1.2' },
  { it: 'takes a docker archive', given: 'docker-archive:/a/b.tar', canonical: 'docker-archive:/a/b.tar' },
  {
    it: 'takes an image of a docker archive',
    given: 'docker-archive:/b.tar:web',
    canonical: 'docker-archive:/b.tar:docker.io/library/web:latest',
  },
  {
    it: 'takes an image of a docker archive by index',
    given: 'docker-archive:/b.tar:@0',
    canonical: 'docker-archive:/b.tar:@0',
  },
  { it: 'takes an OCI archive', given: 'oci-archive:/b.tar:v1', canonical: 'oci-archive:/b.tar:v1' },
  { it: 'takes an OCI layout', given: 'oci:/srv/layout', canonical: 'oci:/srv/layout' },
  { it: 'allows spaces and leading dashes inside a path', given: 'oci:/a b/--x', canonical: 'oci:/a b/--x' },
];

const bad: readonly { given: string; says: RegExp }[] = [
  { given: '', says: /empty/ },
  { given: 'NGINX', says: /must be in lower case/ },
  { given: 'a/B', says: /must be in lower case/ },
  { given: 'a b', says: /not a part of an image name/ },
  { given: '-nginx', says: /not a part of an image name/ },
  { given: '--policy=x', says: /not a part of an image name/ },
  { given: 'nginx:', says: /not a tag/ },
  { given: 'nginx:-x', says: /not a tag/ },
  { given: `nginx:${'a'.repeat(129)}`, says: /not a tag/ },
  { given: 'a//b', says: /empty/ },
  { given: '/a', says: /empty|host/ },
  { given: 'a/', says: /empty/ },
  { given: 'a@sha256:00', says: /not a digest/ },
  { given: `a@sha256:${'A1'.repeat(32)}`, says: /not a digest/ },
  { given: `a@md5:${'a'.repeat(32)}`, says: /not a digest/ },
  { given: `a@constructor:${'a'.repeat(64)}`, says: /not a digest/ },
  { given: 'a'.repeat(256), says: /at most 255/ },
  { given: 'a'.repeat(64), says: /image id/ },
  { given: 'a_.b', says: /not a part/ },
  { given: '-reg.io/a', says: /not a registry/ },
  { given: 'docker-archive:b.tar', says: /absolute/ },
  { given: 'oci:a/b', says: /absolute/ },
  { given: 'docker-archive:/a\n', says: /control/ },
  { given: 'docker-archive:/a/../b', says: /\.\./ },
  { given: 'docker-archive:/a:@x', says: /not a digest|name/ },
  { given: 'oci:/a:-x', says: /OCI layout/ },
  { given: 'dir:/etc', says: /not a registry/ },
  { given: 'containers-storage:/x', says: /not a registry|empty/ },
  { given: 'x'.repeat(5000), says: /too long/ },
];

describe('parseReference', () => {
  for (const c of good) {
    it(c.it, () => {
      const parsed = parseReference(c.given);
      assert.equal(parsed.canonical, c.canonical);
      if (c.registry !== undefined) assert.equal(parsed.kind === 'registry' && parsed.registry, c.registry);
    });
  }
  for (const c of bad) {
    it(`refuses ${JSON.stringify(c.given.slice(0, 40))} and says why`, () => {
      assert.throws(
        () => parseReference(c.given),
        (error) => error instanceof ImagePullError && error.kind === 'invalid-name' && c.says.test(error.message),
      );
    });
  }

  const piece = fc.oneof(
    fc.constantFrom(
      '/',
      ':',
      '@',
      '.',
      '-',
      '--',
      '_',
      'nginx',
      'localhost',
      'docker.io',
      'oci:',
      'docker-archive:',
      'sha256:',
      ' ',
      '\n',
      '$(x)',
      ';',
      "'",
      '..',
      '[',
      ']',
      ',',
    ),
    fc.string({ maxLength: 6, unit: 'binary' }),
  );
  const hostile = fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(''));

  it('accepts only what is safe as one argument after a transport, whatever comes', () => {
    fc.assert(
      fc.property(fc.oneof(hostile, fc.string({ unit: 'binary' })), (text) => {
        let parsed: ReturnType<typeof parseReference>;
        try {
          parsed = parseReference(text);
        } catch (error) {
          assert.ok(error instanceof ImagePullError, String(error));
          return;
        }
        if (parsed.kind === 'registry') {
          assert.match(parsed.canonical, /^[A-Za-z0-9[][A-Za-z0-9.:/@_[\]-]*$/);
          assert.ok(!parsed.canonical.split('/').includes('..'));
        } else assert.match(parsed.canonical, /^(?:docker-archive|oci-archive|oci):\/\P{Cc}*$/u);
      }),
      { numRuns: 3000 },
    );
  });

  it('gives a canonical name that parses to itself', () => {
    fc.assert(
      fc.property(hostile, fc.constantFrom(...good.map((c) => c.given)), (text, known) => {
        for (const candidate of [text, known]) {
          let canonical: string;
          try {
            canonical = parseReference(candidate).canonical;
          } catch {
            continue; // refused ones are the other test's
          }
          assert.equal(parseReference(canonical).canonical, canonical);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe('parseImageID', () => {
  it('takes 64 digits with and without sha256:', () => {
    assert.equal(parseImageID(digest), 'a1'.repeat(32));
    assert.equal(parseImageID('a1'.repeat(32)), 'a1'.repeat(32));
  });
  it('takes nothing else', () => {
    for (const text of ['', 'nginx', 'a1', `sha256:${'A1'.repeat(32)}`, `x${'a1'.repeat(32)}`]) {
      assert.equal(parseImageID(text), undefined);
    }
  });
});
