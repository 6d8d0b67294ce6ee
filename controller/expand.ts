/**
 * $(NAME) in environment values, command and args. Pure. The rules are those of Kubernetes (API reference of Container.env,
 * command and args): $$ stands for one $, a reference that names no variable stays as it is, and so does a $ before
 * anything else.
 */

/** A value, and whether any part of it came from a Secret. */
export interface Value {
  readonly text: string;
  readonly isSecret: boolean;
}

/** Replaces references; what they bring in is not looked at again. Takes time in proportion to the text. */
export function expand(text: string, variables: ReadonlyMap<string, Value>): Value {
  const lastClose = text.lastIndexOf(')');
  let expanded = '';
  let isSecret = false;
  let done = 0;
  for (let at = text.indexOf('$'); at !== -1; at = text.indexOf('$', done)) {
    expanded += text.slice(done, at);
    const next = text[at + 1];
    if (next === '(' && at < lastClose) {
      const close = text.indexOf(')', at);
      const value = variables.get(text.slice(at + 2, close));
      expanded += value?.text ?? text.slice(at, close + 1);
      isSecret ||= value?.isSecret ?? false;
      done = close + 1;
    } else {
      expanded += '$';
      done = at + (next === '$' ? 2 : 1);
    }
  }
  return { text: expanded + text.slice(done), isSecret };
}
