/** A stream of JSON lines, as a watch sends it. */

/** What follows the last line end is left out. Throws SyntaxError for a line that is no JSON. */
export async function* readJsonLines<T>(body: AsyncIterable<Buffer>): AsyncGenerator<T, void> {
  let rest = '';
  const decoder = new TextDecoder();
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) yield JSON.parse(line);
  }
}
