/** What skopeo prints, and what is made of it. The texts are skopeo 1.9.3's own, as seen on a host. */
import assert from 'node:assert/strict';
import { type PullCircumstances, parsePullError } from '../../runtime/images/pull-errors.ts';
import type { ImagePullError } from '../../runtime/interface.ts';

const fatal = (message: string) => `time="2026-11-23T23:10:43Z" level=fatal msg=${JSON.stringify(message)}\n`;
const mirrored = (mirror: string, primary: string) =>
  fatal(
    `initializing source docker://nosuch:1: (Mirrors also failed: [127.0.0.1:5000/library/nosuch:1: ${mirror}]): docker.io/library/nosuch:1: ${primary}`,
  );
const noHost =
  'pinging container registry registry-1.docker.io: Get "https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io on 10.0.0.53:53: no such host';
const unknown = 'reading manifest 1 in 127.0.0.1:5000/library/nosuch: manifest unknown: manifest unknown';

const plain: PullCircumstances = { source: 'registry', isLoggedIn: false, isByDigest: false };
const refused = fatal(
  'initializing source docker://r/x:1: reading manifest 1 in r/x: unauthorized: authentication required',
);
const missing = fatal(`initializing source docker://127.0.0.1:5000/x:1: ${unknown}`);

const cases: readonly {
  it: string;
  stderr: string;
  source?: 'archive';
  circumstances?: Partial<PullCircumstances>;
  kind: ImagePullError['kind'];
  says?: RegExp;
}[] = [
  { it: 'no credentials', stderr: refused, kind: 'unauthorized', says: /; give credentials that may read it$/ },
  {
    it: 'credentials that were not taken',
    stderr: refused,
    circumstances: { isLoggedIn: true },
    kind: 'unauthorized',
    says: /was given a user name and password and did not take them/,
  },
  {
    it: 'a missing repository',
    stderr: missing,
    circumstances: { tags: 'none' },
    kind: 'not-found',
    says: /no such repository/,
  },
  {
    it: 'a missing digest',
    stderr: missing,
    circumstances: { isByDigest: true, tags: ['1'] },
    kind: 'not-found',
    says: /no image of this digest/,
  },
  {
    it: 'a missing tag among many',
    stderr: missing,
    circumstances: { tags: Array.from({ length: 12 }, (_, index) => `v${index}`) },
    kind: 'not-found',
    says: /has no such tag; it has v2, v3, .*, v11 and 2 more$/,
  },
  {
    it: 'a missing tag or repository',
    stderr: fatal(`initializing source docker://127.0.0.1:5000/x:1: ${unknown}`),
    kind: 'not-found',
    says: /: reading manifest 1 in .*manifest unknown.*; check the name and the tag$/,
  },
  {
    it: 'a name that the registry does not know',
    stderr: fatal(
      'initializing source docker://a/b:1: reading manifest 1 in a/b: name unknown: repository name not known to registry',
    ),
    kind: 'not-found',
  },
  {
    it: 'a registry that is down',
    stderr: fatal(
      'initializing source docker://127.0.0.1:1/x:1: pinging container registry 127.0.0.1:1: Get "https://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused',
    ),
    kind: 'unreachable',
    says: /connection refused/,
  },
  {
    it: 'a name that DNS does not know',
    stderr: fatal(`initializing source docker://x: ${noHost}`),
    kind: 'unreachable',
  },
  {
    it: 'a time-out',
    stderr: fatal(
      'initializing source docker://x: pinging container registry x: Get "https://x/v2/": dial tcp 10.1.1.1:443: i/o timeout',
    ),
    kind: 'unreachable',
  },
  {
    it: 'a network that is down',
    stderr: fatal('x: dial tcp 10.1.1.1:443: connect: network is unreachable'),
    kind: 'unreachable',
  },
  {
    it: 'plain HTTP',
    stderr: fatal(
      'initializing source docker://127.0.0.1:5000/x:1: pinging container registry 127.0.0.1:5000: Get "https://127.0.0.1:5000/v2/": http: server gave HTTP response to HTTPS client',
    ),
    kind: 'registry',
    says: /insecure/,
  },
  {
    it: 'a certificate that is not trusted',
    stderr: fatal(
      'initializing source docker://x/y:1: pinging container registry x: Get "https://x/v2/": x509: certificate signed by unknown authority',
    ),
    kind: 'registry',
    says: /trust/,
  },
  {
    it: 'a wrong password',
    stderr: fatal(
      'initializing source docker://x/y:1: unable to retrieve auth token: invalid username/password: unauthorized: authentication required',
    ),
    kind: 'unauthorized',
    says: /password/,
  },
  {
    it: 'no credentials',
    stderr: fatal(
      'initializing source docker://x/y:1: reading manifest 1 in x/y: unauthorized: authentication required',
    ),
    kind: 'unauthorized',
  },
  {
    it: 'what Docker Hub says of repositories that do not exist',
    stderr: fatal(
      'initializing source docker://x/y:1: reading manifest 1 in docker.io/x/y: errors:\ndenied: requested access to the resource is denied\nunauthorized: authentication required\n',
    ),
    kind: 'unauthorized',
    says: /does not exist/,
  },
  {
    it: 'a rate limit',
    stderr: fatal(
      'initializing source docker://x: reading manifest latest in docker.io/library/x: toomanyrequests: You have reached your pull rate limit.',
    ),
    kind: 'registry',
    says: /limits/,
  },
  {
    it: 'a broken registry',
    stderr: fatal(
      'initializing source docker://x/y:1: reading manifest 1 in x/y: received unexpected HTTP status: 500 Internal Server Error',
    ),
    kind: 'registry',
    says: /own log/,
  },
  {
    it: 'a damaged blob',
    stderr: fatal(
      'writing blob: storing blob to file "/tmp/x": happened during read: Digest did not match, expected sha256:aa, got sha256:bb',
    ),
    kind: 'corrupt',
  },
  {
    it: 'a full disk',
    stderr: fatal(
      'writing blob: adding layer with blob "sha256:aa": Error processing tar file(exit status 1): write /x: no space left on device',
    ),
    kind: 'disk',
    says: /free space/,
  },
  {
    it: 'an image for another processor',
    stderr: fatal(
      'choosing image instance: no image found in manifest list for architecture amd64, variant "", OS linux',
    ),
    kind: 'not-found',
    says: /processor/,
  },
  {
    it: "the host's policy",
    stderr: fatal('Source image rejected: Running image docker://x is rejected by policy.'),
    kind: 'unauthorized',
    says: /policy\.json/,
  },
  {
    it: 'a mirror that has not got it, before a registry that cannot be reached',
    stderr: mirrored(unknown, noHost),
    kind: 'not-found',
    says: /the mirror 127.0.0.1:5000/,
  },
  {
    it: 'a registry that has not got it, behind a mirror that is down',
    stderr: mirrored('dial tcp: connection refused', unknown),
    kind: 'not-found',
  },
  {
    it: 'a mirror and a registry that are both down',
    stderr: mirrored('pinging: dial tcp 127.0.0.1:5000: connect: connection refused', noHost),
    kind: 'unreachable',
    says: /no such host/,
  },
  {
    it: 'a mirror that asks for a password',
    stderr: mirrored('reading manifest: unauthorized: authentication required', noHost),
    kind: 'unauthorized',
  },
  { it: 'words never seen before', stderr: fatal('the moon is full'), kind: 'registry', says: /the moon is full/ },
  { it: 'no words at all', stderr: '', kind: 'registry', says: /said nothing/ },
  { it: 'words that are no log line', stderr: 'panic: runtime error\n', kind: 'registry', says: /panic/ },
  {
    it: 'an archive that is not there',
    source: 'archive',
    stderr: fatal(
      'initializing source docker-archive:/nope: opening file "/nope": open /nope: no such file or directory',
    ),
    kind: 'not-found',
    says: /check the path/,
  },
  {
    it: 'an archive that is none',
    source: 'archive',
    stderr: fatal(
      'initializing source docker-archive:/etc/passwd: loading tar component manifest.json: archive/tar: invalid tar header',
    ),
    kind: 'corrupt',
  },
  {
    it: 'an OCI archive that is none',
    source: 'archive',
    stderr: fatal(
      'initializing source oci-archive:/etc/passwd:: creating temp directory: untarring file "/x/oci1": archive/tar: invalid tar header',
    ),
    kind: 'corrupt',
  },
  {
    it: 'an image that the OCI archive does not hold',
    source: 'archive',
    stderr: fatal('initializing source oci-archive:/b:zz: no descriptor found for reference "zz"'),
    kind: 'not-found',
    says: /holds/,
  },
  {
    it: 'an image that the docker archive does not hold',
    source: 'archive',
    stderr: fatal(
      'determining manifest MIME type for docker-archive:/b:docker.io/library/zz:latest: Tag "docker.io/library/zz:latest" not found',
    ),
    kind: 'not-found',
  },
  {
    it: 'a full disk during an import',
    source: 'archive',
    stderr: fatal('writing blob: write /x: no space left on device'),
    kind: 'disk',
  },
];

describe('parsePullError', () => {
  for (const c of cases) {
    it(`knows ${c.it}`, () => {
      const error = parsePullError('web:2', c.stderr, { ...plain, source: c.source ?? 'registry', ...c.circumstances });
      assert.equal(error.kind, c.kind, error.message);
      assert.match(error.message, /^cannot pull image "web:2": /);
      if (c.says !== undefined) assert.match(error.message, c.says);
    });
  }
  it('keeps its message short whatever is printed', () => {
    assert.ok(parsePullError('x', fatal('y'.repeat(100_000)), plain).message.length < 1000);
  });
});
