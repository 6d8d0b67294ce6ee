/** Renews certificates while the store runs, and tells all who need to know: the listener, the kubeconfigs, the log. Effects. */
import { X509Certificate } from 'node:crypto';
import type { Logger } from 'pino';
import { renewHostKubeconfigs, writeAdminKubeconfig } from './kubeconfigs.ts';
import type { CertificateEnds } from './metrics.ts';
import { type Credentials, ensureCredentials } from './pki.ts';

export interface RenewalDeps {
  readonly dataDir: string;
  readonly listenHost: string;
  readonly url: string;
  readonly present: Credentials;
  readonly server: { renew(credentials: Credentials): void };
  readonly metrics: { certified(ends: CertificateEnds): void };
  readonly now: () => number;
  readonly log: Logger;
}

export interface Renewal {
  readonly caCertificate: string;
  /** Looks now. Throws PkiError. */
  check(): Promise<void>;
  close(): void;
}

const checkMs = 12 * 60 * 60 * 1000;

/** A daemon may run for longer than its certificates are valid. */
export function startRenewal(deps: RenewalDeps): Renewal {
  const { dataDir, listenHost, url, present, server, metrics, now, log } = deps;
  metrics.certified(endsOf(present));
  let { certificate, caCertificate } = present;
  let looking: Promise<void> = Promise.resolve();
  const look = async (): Promise<void> => {
    const nowMs = now();
    const credentials = await ensureCredentials({ dataDir, listenHost, nowMs });
    const isNewServer = credentials.certificate !== certificate;
    const isNewAuthority = credentials.caCertificate !== caCertificate;
    if (isNewServer || isNewAuthority) server.renew(credentials);
    // Before what can fail: this process's own clients follow, whatever becomes of the files.
    certificate = credentials.certificate;
    caCertificate = credentials.caCertificate;
    metrics.certified(endsOf(credentials));
    await writeAdminKubeconfig(dataDir, { url, ...credentials });
    if (isNewAuthority) {
      log.warn(
        { dataDir },
        'the certificate authority is being followed by its next one; kubeconfigs in the data dir are rewritten: give copies of them anew to who has one',
      );
    }
    const hosts = await renewHostKubeconfigs(dataDir, nowMs);
    if (isNewServer) log.info({ hosts }, 'server certificate renewed');
  };
  const check = (): Promise<void> => {
    looking = looking.catch(() => {}).then(look); // who asked before was told of its own failure
    return looking;
  };
  const timer = setInterval(() => {
    check().catch((error: unknown) => log.error({ err: error }, 'certificates could not be renewed'));
  }, checkMs).unref();
  return {
    get caCertificate() {
      return caCertificate;
    },
    check,
    close: () => clearInterval(timer),
  };
}

function endsOf({ certificate, caCertificate }: Credentials): CertificateEnds {
  // Of several in one text the first is read, which is the authority that signs.
  const [serverMs, authorityMs] = [certificate, caCertificate].map((pem) =>
    new X509Certificate(pem).validToDate.getTime(),
  );
  return { serverMs: serverMs ?? 0, authorityMs: authorityMs ?? 0 };
}
