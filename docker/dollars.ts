/** Texts of Docker, which mean what they say, in fields of a spec where $(NAME) is a variable and $$ is a dollar. Pure. */

export function escapeDollars(text: string): string {
  return text.replaceAll('$', '$$$$');
}

/** What a text of a spec says to Docker: a variable stays as it is written. */
export function unescapeDollars(text: string): string {
  return text.replaceAll('$$', '$');
}
