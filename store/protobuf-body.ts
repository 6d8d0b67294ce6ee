/**
 * Reads core kinds from Kubernetes' protobuf, which kubectl 1.32 sends for `create namespace`, `create secret` and
 * `create configmap`. Pure. Field numbers: generated.proto of k8s.io/api/core/v1 and k8s.io/apimachinery.
 * Fields that are not in the tables below are skipped, as protobuf asks.
 */
import type { Json } from './json.ts';
import { accessMessages } from './protobuf-access.ts';
import {
  asBase64,
  asFlag,
  asMessage,
  asNumber,
  asText,
  asTime,
  bytesOf,
  decodeFields,
  decodeMessage,
  type Message,
  many,
  map,
  metadata,
  objectReference,
  one,
} from './protobuf-fields.ts';
import { badRequest } from './status-error.ts';

/** The media type under which it comes. */
export const kubernetesProtobufType = 'application/vnd.kubernetes.protobuf';

const messages: ReadonlyMap<string, Message> = new Map<string, Message>([
  ...accessMessages,
  [
    'ConfigMap',
    new Map([
      [1, metadata],
      [2, map('data', asText)],
      [3, map('binaryData', asBase64)],
      [4, one('immutable', asFlag)],
    ]),
  ],
  [
    'Secret',
    new Map([
      [1, metadata],
      [2, map('data', asBase64)],
      [3, one('type', asText)],
      [4, map('stringData', asText)],
      [5, one('immutable', asFlag)],
    ]),
  ],
  ['Namespace', new Map([[1, metadata]])],
  [
    'Event',
    new Map([
      [1, metadata],
      [2, one('involvedObject', objectReference)],
      [3, one('reason', asText)],
      [4, one('message', asText)],
      [
        5,
        one(
          'source',
          asMessage(
            new Map([
              [1, one('component', asText)],
              [2, one('host', asText)],
            ]),
          ),
        ),
      ],
      [6, one('firstTimestamp', asTime)],
      [7, one('lastTimestamp', asTime)],
      [8, one('count', asNumber)],
      [9, one('type', asText)],
      [10, one('eventTime', asTime)],
      [
        11,
        one(
          'series',
          asMessage(
            new Map([
              [1, one('count', asNumber)],
              [2, one('lastObservedTime', asTime)],
            ]),
          ),
        ),
      ],
      [12, one('action', asText)],
      [13, one('related', objectReference)],
      [14, one('reportingComponent', asText)],
      [15, one('reportingInstance', asText)],
    ]),
  ],
  [
    'DeleteOptions',
    new Map([
      [1, one('gracePeriodSeconds', asNumber)],
      [
        2,
        one(
          'preconditions',
          asMessage(
            new Map([
              [1, one('uid', asText)],
              [2, one('resourceVersion', asText)],
            ]),
          ),
        ),
      ],
      [4, one('propagationPolicy', asText)],
      [5, many('dryRun', asText)],
    ]),
  ],
]);

/** Before each body: runtime.Unknown, with the kind and the object's own bytes, follows these four. */
const magic = Buffer.from([0x6b, 0x38, 0x73, 0x00]);

/** Throws StatusError 400. */
export function parseKubernetesProtobuf(body: Buffer): Json {
  if (!body.subarray(0, magic.length).equals(magic)) throw badRequest('the body is not Kubernetes protobuf');
  const envelope = decodeFields(body.subarray(magic.length));
  const typeMeta = decodeFields(bytesOf(envelope.find(({ number }) => number === 1)?.content ?? 0));
  const apiVersion = String(asText(typeMeta.find(({ number }) => number === 1)?.content ?? 0));
  const kind = String(asText(typeMeta.find(({ number }) => number === 2)?.content ?? 0));
  const message = messages.get(kind);
  if (message === undefined) {
    throw badRequest(`the kind ${JSON.stringify(kind.slice(0, 100))} cannot be read from protobuf; send it as JSON`);
  }
  const object = decodeMessage(message, bytesOf(envelope.find(({ number }) => number === 2)?.content ?? 0));
  return { apiVersion, kind, ...object };
}
