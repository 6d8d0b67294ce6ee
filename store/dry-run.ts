/** The option dryRun, which all writes and deletions have. Pure. Source: apimachinery/pkg/apis/meta/v1/validation. */
import type { FieldError } from './field-errors.ts';
import type { Json } from './json.ts';

/** `asked`: all that a request asks for. */
export function checkDryRun(asked: readonly Json[]): readonly FieldError[] {
  if (asked.every((item) => item === 'All')) return [];
  return [{ kind: 'unsupported', field: 'dryRun', value: asked, supported: ['All'] }];
}
