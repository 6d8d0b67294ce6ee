/** What every example says about its images. Types only. */
import type { ImageSettings } from './image-archive.ts';

/** What a recipe may use. */
export interface RecipeContext {
  /** Downloaded Debian packages. */
  readonly cacheDir: string;
  readonly signal: AbortSignal;
}

export interface ImageRecipe {
  /** Fully qualified, as the spec documents name it. */
  readonly name: string;
  /** Files of this project that go into it: a change of one makes the image anew. */
  readonly sources: readonly string[];
  readonly settings: ImageSettings;
  /** Fills the root folder, which is there and empty. */
  fill(rootDir: string, context: RecipeContext): Promise<void>;
}
