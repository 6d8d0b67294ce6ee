/** Reads the certificate that a client has shown; TLS has verified it against our CA. Pure but for the socket it asks. */
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import type { ClientCertificate } from './authenticator.ts';

const known = new WeakMap<TLSSocket, { readonly certificate: ClientCertificate | 'refused' | undefined }>();

/** 'refused': our CA did not sign it, it is out of date, or it is not for clients. */
export function certificateOf(socket: Duplex): ClientCertificate | 'refused' | undefined {
  if (!(socket instanceof TLSSocket)) return undefined;
  let found = known.get(socket);
  if (found === undefined) {
    found = { certificate: read(socket) };
    known.set(socket, found);
  }
  return found.certificate;
}

function read(socket: TLSSocket): ClientCertificate | 'refused' | undefined {
  const certificate = socket.getPeerCertificate();
  // Without one, Node answers an empty object.
  if (certificate === null || Object.keys(certificate).length === 0) return undefined;
  if (!socket.authorized) return 'refused';
  const { subject, valid_to } = certificate;
  const names = listOf(subject.CN);
  return {
    commonName: names.length === 1 ? (names[0] ?? '') : '',
    organizations: listOf(subject.O),
    validToMs: Date.parse(valid_to),
  };
}

function listOf(value: string | readonly string[] | undefined): readonly string[] {
  if (value === undefined) return [];
  return typeof value === 'string' ? [value] : value;
}
