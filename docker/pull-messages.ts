/** What is told of a pull, layer by layer. Pure. Source: moby distribution/pull_v2.go and pkg/progress. */
import type { LayerProgress } from '../runtime/index.ts';

/** 12 digits of a digest. */
function layerName(digest: string): string {
  return digest.replace(/^\w+:/, '').slice(0, 12);
}

const words: Readonly<Record<Exclude<LayerProgress['state'], 'downloading'>, string>> = {
  present: 'Already exists',
  waiting: 'Pulling fs layer',
  downloaded: 'Download complete',
  stored: 'Pull complete',
};

/** The messages that lead from what was told before to what is so now; each layer is told of by its own id. */
export function pullMessages(before: readonly LayerProgress[], now: readonly LayerProgress[]): readonly object[] {
  const told = new Map(before.map((layer) => [layer.digest, layer]));
  const messages: object[] = [];
  // A layer that stands in an image twice is told of once.
  for (const layer of new Map(now.map((one) => [one.digest, one])).values()) {
    const id = layerName(layer.digest);
    const last = told.get(layer.digest);
    const say = (status: string): void => void messages.push({ status, progressDetail: {}, id });
    if (last === undefined && layer.state !== 'present') say(words.waiting);
    if (last?.state === layer.state && last.doneBytes === layer.doneBytes) continue;
    switch (layer.state) {
      case 'downloading':
        messages.push(formatProgress('Downloading', id, layer));
        break;
      case 'waiting':
        break;
      case 'stored':
        if (last?.state !== 'downloaded') say(words.downloaded);
        say(words.stored);
        break;
      default:
        say(words[layer.state]);
    }
  }
  return messages;
}

/** With the bar that clients of old draw as it is given. */
function formatProgress(status: string, id: string, { doneBytes, sizeBytes }: LayerProgress): object {
  return {
    status,
    progressDetail: { current: doneBytes, total: sizeBytes },
    progress: formatBar(doneBytes, sizeBytes),
    id,
  };
}

/** Source: moby pkg/jsonmessage, JSONProgress.String, at the width that it takes without a terminal. */
export function formatBar(current: number, total: number): string {
  const share = total <= 0 ? 0 : Math.min(50, Math.floor((current / total) * 50));
  const bar = `[${'='.repeat(share)}>${' '.repeat(Math.max(0, 50 - share))}]`;
  return `${bar}  ${formatSize(current)}/${formatSize(total)}`;
}

/** 1.5kB, 12.34MB. Source: docker/go-units, HumanSize: four digits, thousands. */
export function formatSize(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let [size, unit] = [bytes, 0];
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${Number(size.toPrecision(4))}${units[unit] ?? ''}`;
}
