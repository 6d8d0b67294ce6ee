/** Registers chapter 2 of 'Docker in Action', typed into a shell, as a suite that runs against one engine. */
import assert from 'node:assert/strict';
import { Book } from './book.ts';
import { chapter } from './chapter-script.ts';
import type { DockerEngine } from './engines.ts';
import { chapterImages } from './images.ts';

export function tellChapter(name: string, start: () => Promise<DockerEngine>): void {
  describe(`the chapter by ${name}`, function () {
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
    it('has some sixty checks', () => {
      assert.ok(chapter.flatMap(({ checks }) => checks).length >= 60);
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
