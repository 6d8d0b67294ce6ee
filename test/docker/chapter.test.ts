/**
 * Chapter 2 of 'Docker in Action', typed into a shell. The same script runs against Debian's dockerd, which shows that it
 * asks for nothing but what Docker does.
 */
import assert from 'node:assert/strict';
import { Book } from './book.ts';
import { chapter } from './chapter-script.ts';
import { type DockerEngine, startDockerdEngine, startHoldfastEngine } from './engines.ts';
import { chapterImages } from './images.ts';

const engines: Readonly<Record<string, () => Promise<DockerEngine>>> = {
  Holdfast: startHoldfastEngine,
  dockerd: startDockerdEngine,
};

describe('the chapter', () => {
  it('has some sixty checks', () => {
    assert.ok(chapter.flatMap(({ checks }) => checks).length >= 60);
  });
  for (const [name, start] of Object.entries(engines)) {
    describe(`by ${name}`, function () {
      this.timeout(300_000);
      let engine: DockerEngine | undefined;
      let book: Book | undefined;
      before(async () => {
        engine = await start();
        book = await Book.open(engine.socketPath);
        await book.load(chapterImages);
      });
      after(async () => {
        await book?.close();
        await engine?.close();
      });
      for (const { title, checks } of chapter) {
        describe(title, () => {
          for (const check of checks) {
            it(check.it, async () => {
              assert.ok(book !== undefined);
              await check.run(book);
            });
          }
        });
      }
    });
  }
});
