/** The seed of a test that draws by chance: printed, so that what went wrong can be done again. */
export const seedVariable = 'HOLDFAST_TEST_SEED';

/** What the environment asks for, or else the given one. */
export function takeSeed(otherwise: number): number {
  const seed = Number(process.env[seedVariable] ?? otherwise);
  console.log(`      seed ${seed} (${seedVariable})`);
  return seed;
}
