/** Writes answers: JSON as it is stored, YAML for those who ask, and Status for everything that fails. Effects only. */
import { dump } from 'js-yaml';
import type { AnswerForm } from './accept.ts';
import type { JsonObject } from './json.ts';
import type { StatusError } from './status-error.ts';

/** An HTTP response, as far as it is needed. */
export interface AnswerSink {
  readonly headersSent: boolean;
  setHeader(name: string, value: string | number | readonly string[]): unknown;
  writeHead(statusCode: number): unknown;
  end(body?: string | Buffer): unknown;
}

/** `json` is text already; `encoding` yaml converts it. */
export function answerJson(
  sink: AnswerSink,
  code: number,
  json: string,
  encoding: AnswerForm['encoding'] = 'json',
): void {
  const isYaml = encoding === 'yaml';
  const body = Buffer.from(isYaml ? dump(JSON.parse(json), { noRefs: true, lineWidth: -1 }) : json);
  sink.setHeader('Content-Type', isYaml ? 'application/yaml' : 'application/json');
  answerBytes(sink, code, body);
}

export function answerBytes(sink: AnswerSink, code: number, body: Buffer): void {
  sink.setHeader('Cache-Control', 'no-cache, private');
  sink.setHeader('Content-Length', body.length);
  sink.writeHead(code);
  sink.end(body);
}

export function answerObject(sink: AnswerSink, code: number, object: JsonObject): void {
  answerJson(sink, code, JSON.stringify(object));
}

export function answerText(sink: AnswerSink, code: number, text: string): void {
  sink.setHeader('Content-Type', 'text/plain; charset=utf-8');
  answerBytes(sink, code, Buffer.from(text));
}

export function answerError(sink: AnswerSink, error: StatusError, encoding: AnswerForm['encoding'] = 'json'): void {
  if (error.code === 401) sink.setHeader('WWW-Authenticate', 'Bearer realm="holdfast"');
  const retryAfterSeconds = error.details?.retryAfterSeconds ?? (error.code === 503 ? 1 : undefined);
  if (retryAfterSeconds !== undefined) sink.setHeader('Retry-After', retryAfterSeconds);
  answerJson(sink, error.code, JSON.stringify(error.toStatus()), encoding);
}

/** Warnings that kubectl prints. Source: RFC 7234 section 5.5, as apimachinery/util/net NewWarningHeader. */
export function setWarnings(sink: AnswerSink, warnings: readonly string[]): void {
  if (warnings.length === 0) return;
  const values = warnings.map(
    (text) => `299 - "${text.replaceAll(/[^\x20-\x7e]/gu, '?').replaceAll(/["\\]/gu, '\\$&')}"`,
  );
  sink.setHeader('Warning', values);
}
