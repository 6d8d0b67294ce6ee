/** What was measured of the docker command against two engines, as a table. Pure. */
import { alignColumns, type Distribution } from './report.ts';

export const dockerFigures = ['runMs', 'runToEndMs', 'execMs', 'listMs', 'removeMs'] as const;
export type DockerFigure = (typeof dockerFigures)[number];

export interface DockerColumn {
  readonly engine: string;
  readonly figures: Readonly<Partial<Record<DockerFigure, Distribution>>>;
}

/** The first column is ours; its time must be at most this share of the second's. */
const shares: Readonly<Record<DockerFigure, number>> = {
  runMs: 1 / 3,
  runToEndMs: 1,
  execMs: 1,
  listMs: 1,
  removeMs: 1,
};

export function formatDocker(columns: readonly DockerColumn[], containers: number): string {
  const words: Readonly<Record<DockerFigure, string>> = {
    runMs: 'docker run -d … sleep',
    runToEndMs: 'docker run --rm … true',
    execMs: 'docker exec … true',
    listMs: `docker ps with ${containers}`,
    removeMs: `docker rm -f of ${containers}`,
  };
  const rows = dockerFigures.map((figure) => [
    `${words[figure]} (ms)`,
    figure === 'runMs' ? 'a third' : 'faster',
    ...columns.map(({ figures }) => formatTime(figures[figure])),
    formatVerdict(figure, columns),
  ]);
  return alignColumns([['', 'target', ...columns.map(({ engine }) => engine), 'met'], ...rows]);
}

function formatTime(time: Distribution | undefined): string {
  return time === undefined ? '-' : `${time.median.toFixed(0)} (p95 ${time.p95.toFixed(0)})`;
}

function formatVerdict(figure: DockerFigure, [ours, theirs]: readonly DockerColumn[]): string {
  const [mine, other] = [ours?.figures[figure]?.median, theirs?.figures[figure]?.median];
  if (mine === undefined || other === undefined) return 'not measured';
  return mine <= other * shares[figure] ? 'yes' : 'NO';
}
