/**
 * Makes an ImagePullError or a RegistryError of what skopeo printed. Pure. Its messages are the only interface it has, so the table
 * here is tested against each failure provoked for real. Seen with skopeo 1.9.3; other versions word them alike.
 */
import { ImagePullError, RegistryError } from '../interface.ts';

type Problem = ConstructorParameters<typeof ImagePullError>[1];

interface Rule {
  readonly pattern: RegExp;
  readonly kind: ImagePullError['kind'];
  readonly fix: string;
}

const giveCredentials = 'give credentials that may read it';
const checkName = 'check the name and the tag';
/** Of a repository with thousands. */
const shownTags = 10;
const network = 'check the network and the name of the registry; it is tried again';

/** The first that matches counts: the more specific stand first. */
const rules: readonly Rule[] = [
  { pattern: /no space left on device|disk quota exceeded/i, kind: 'disk', fix: 'free space where images are kept' },
  { pattern: /read-only file system/i, kind: 'disk', fix: 'make the file system where images are kept writable' },
  {
    pattern: /no image found in (?:manifest list|image index) for architecture/i,
    kind: 'not-found',
    fix: "choose a tag that was built for this machine's processor",
  },
  {
    pattern: /Source image rejected|policy requirement|is blocked in/i,
    kind: 'unauthorized',
    fix: "this host's policy.json or registries.conf forbids it: allow it there or choose another image",
  },
  {
    pattern: /invalid username\/password|incorrect username or password/i,
    kind: 'unauthorized',
    fix: 'check the user name and password',
  },
  {
    pattern: /requested access to the resource is denied/i,
    kind: 'unauthorized',
    fix: 'check the name (a registry says this of a repository that does not exist, too), or give credentials',
  },
  {
    pattern:
      /unauthorized|authentication required|no basic auth credentials|status code 40[13]|40[13] (?:Unauthorized|Forbidden)|access forbidden/i,
    kind: 'unauthorized',
    fix: giveCredentials,
  },
  {
    pattern: /toomanyrequests|too many requests|status code 429/i,
    kind: 'registry',
    fix: 'the registry limits how often you may ask: log in, or use a mirror; it is tried again',
  },
  {
    pattern: /server gave HTTP response to HTTPS client/i,
    kind: 'registry',
    fix: 'the registry does not speak HTTPS: set it up with a certificate, or mark it insecure in registries.conf',
  },
  {
    pattern: /x509:|tls: |certificate/i,
    kind: 'registry',
    fix: "make this host trust the registry's certificate (/etc/containers/certs.d/<registry>/ca.crt)",
  },
  {
    pattern:
      /digest did not match|did not match expected|does not match (?:the )?(?:expected )?(?:digest|size)|blob size mismatch|invalid checksum/i,
    kind: 'corrupt',
    fix: 'what arrived is not what was pushed: push the image again, or look for a faulty proxy or disk',
  },
  {
    pattern:
      /manifest unknown|name unknown|repository name not known|status code 404|404 Not Found|not found in repository/i,
    kind: 'not-found',
    fix: checkName,
  },
  {
    pattern:
      /connection refused|no such host|i\/o timeout|network is unreachable|no route to host|TLS handshake timeout|connection reset|deadline exceeded|Temporary failure in name resolution|server misbehaving|: EOF$|connection timed out|broken pipe|use of closed network connection|client\.timeout/i,
    kind: 'unreachable',
    fix: network,
  },
  {
    pattern:
      /unexpected HTTP status|status code [45]\d\d|internal server error|bad gateway|service unavailable|received unexpected/i,
    kind: 'registry',
    fix: "look at the registry's own log; it is tried again",
  },
  {
    pattern:
      /unsupported (?:schema|manifest|media)|unknown media ?type|unsupported MIME type|invalid (?:tar header|character|manifest)|gzip: invalid|archive\/tar|unexpected end of JSON|error parsing|decoding/i,
    kind: 'corrupt',
    fix: 'it is not an image that this host can read: build and push it again',
  },
];

/** Reading an archive of this host fails in other ways than a registry does. */
const archiveRules: readonly Rule[] = [
  { pattern: /no space left on device|disk quota exceeded/i, kind: 'disk', fix: 'free space where images are kept' },
  {
    pattern:
      /Tag .* not found|reference .* not found|no image found|no descriptor found|more than one image|multiple images|index @\d+ .*only|Invalid source index/i,
    kind: 'not-found',
    fix: 'name an image that the archive holds',
  },
  { pattern: /no such file or directory/i, kind: 'not-found', fix: 'check the path' },
  { pattern: /permission denied/i, kind: 'unauthorized', fix: 'make the file readable for root' },
  { pattern: /./s, kind: 'corrupt', fix: 'if the archive is damaged or not of this format, write it again' },
];

/** What is known of a failed pull beside skopeo's words. */
export interface PullCircumstances {
  readonly source: 'registry' | 'archive';
  /** The registry was given a user name and password. */
  readonly isLoggedIn: boolean;
  /** The image was asked for by its digest. */
  readonly isByDigest: boolean;
  /** Asked after a manifest was not found: the repository's tags; 'none': the registry knows no such repository. */
  readonly tags?: readonly string[] | 'none' | undefined;
}

/** `stderr`: all that skopeo printed. Registries say the same of several mistakes; the circumstances tell them apart. */
export function parsePullError(image: string, stderr: string, circumstances: PullCircumstances): ImagePullError {
  const message = fatalMessage(stderr);
  if (circumstances.source === 'archive') return new ImagePullError(image, match(message, archiveRules));
  const problem = registryProblem(message);
  return new ImagePullError(image, { ...problem, fix: fixFor(problem, circumstances) });
}

/** As parsePullError, for what is no pull. `deed`: what could not be done, after "cannot". */
export function parseRegistryError(
  deed: string,
  stderr: string,
  { isLoggedIn }: Pick<PullCircumstances, 'isLoggedIn'>,
): RegistryError {
  const problem = registryProblem(fatalMessage(stderr));
  if (problem.kind !== 'unauthorized' || problem.fix !== giveCredentials) return new RegistryError(deed, problem);
  const fix = isLoggedIn
    ? 'the registry was given a user name and password and did not take them: check both, and what this user may do'
    : 'give credentials that may do it';
  return new RegistryError(deed, { ...problem, fix });
}

function fixFor({ kind, fix }: Problem, { isLoggedIn, isByDigest, tags }: PullCircumstances): string {
  if (kind === 'unauthorized' && isLoggedIn && fix === giveCredentials)
    return 'the registry was given a user name and password and did not take them: check both, and whether this user may read the image';
  if (kind !== 'not-found' || fix !== checkName) return fix;
  if (tags === 'none') return 'the registry has no such repository: check the name, or push the image';
  if (isByDigest) return 'the registry has no image of this digest in this repository: check the digest';
  if (tags === undefined || tags.length === 0) return fix;
  const others = tags.length > shownTags ? ` and ${tags.length - shownTags} more` : '';
  return `the repository is there and has no such tag; it has ${tags.slice(-shownTags).join(', ')}${others}`;
}

/** Whether the registry knew nothing of the manifest, so that it is worth asking what it does have. */
export function isManifestUnknown(stderr: string): boolean {
  return registryProblem(fatalMessage(stderr)).fix === checkName;
}

/**
 * With mirrors configured, several places have failed. One that answered knows more than one that could not be
 * reached: a host behind a mirror has no other way out, and "not found" must not pass for a dead network there.
 */
function registryProblem(message: string): Problem {
  const answers = splitMirrors(message).map((part) => match(part, rules));
  const answered = answers.find((answer) => answer.kind !== 'unreachable') ?? answers[0];
  return answered ?? match(message, rules);
}

/** The registry's own error first, then each mirror's. */
function splitMirrors(message: string): readonly string[] {
  const found = /\(Mirrors also failed: (\[.*\])\): (.*)$/s.exec(message);
  if (found?.[1] === undefined || found[2] === undefined) return [message];
  const mirrors = found[1].slice(1, -1).split('] [');
  return [found[2], ...mirrors.map((mirror) => `the mirror ${mirror}`)];
}

function match(message: string, table: readonly Rule[]): Problem {
  const rule = table.find(({ pattern }) => pattern.test(message));
  // The name of the image stands in front already; with the mirrors' errors it is needed to tell them apart.
  const text = message.replace(
    /^(?:(?:initializing source|determining manifest MIME type for) \S+|trying to reuse blob \S+ at destination|(?:logging into|authenticating creds for) "[^"]*"): (?=.)/,
    '',
  );
  const what = text === '' ? 'skopeo failed and said nothing' : clip(text);
  if (rule !== undefined) return { kind: rule.kind, what, fix: rule.fix };
  return { kind: 'registry', what, fix: 'see the message; it is tried again' };
}

/** skopeo logs like time="…" level=fatal msg="…": the text of the last fatal line, or the last line that is there. */
function fatalMessage(stderr: string): string {
  const lines = stderr.split('\n').filter((line) => line.trim() !== '');
  const fatal = lines.findLast((line) => /level=(?:fatal|error)/.test(line)) ?? lines.at(-1) ?? '';
  const quoted = /msg=("(?:[^"\\]|\\.)*")/.exec(fatal)?.[1];
  if (quoted === undefined) return fatal.trim();
  try {
    const text: unknown = JSON.parse(quoted);
    return typeof text === 'string' ? text.trim() : fatal;
  } catch {
    return quoted.slice(1, -1); // Go escapes a few characters that JSON does not know; the raw text will do
  }
}

function clip(text: string): string {
  return text.length > 600 ? `${text.slice(0, 600)}…` : text;
}
