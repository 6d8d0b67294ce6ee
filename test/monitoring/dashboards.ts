/** Reads the panels and queries of the Grafana dashboards in deploy/grafana. Pure but for reading the files. */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

export const dashboardsDir = join(import.meta.dirname, '../../deploy/grafana/dashboards');

export interface Panel {
  readonly id: number;
  readonly title: string;
  readonly type: string;
  readonly description: string;
  /** PromQL as written, with Grafana's variables in it. */
  readonly queries: readonly string[];
  readonly grid: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
}

export interface Dashboard {
  readonly file: string;
  readonly uid: string;
  readonly panels: readonly Panel[];
  /** Queries of annotations and variables. */
  readonly otherQueries: readonly string[];
}

/** Every dashboard; rows are left out of the panels. */
export async function readDashboards(): Promise<readonly Dashboard[]> {
  const files = (await readdir(dashboardsDir)).filter((file) => file.endsWith('.json'));
  return Promise.all(
    files.map(async (file) => parseDashboard(file, JSON.parse(await readFile(join(dashboardsDir, file), 'utf8')))),
  );
}

/** Puts in what Grafana would for its variables. A variable that is not known stays, and so the query does not parse. */
export function fillIn(query: string, values: { readonly rateInterval: string; readonly instance: string }): string {
  return query.replaceAll('$__rate_interval', values.rateInterval).replaceAll('$instance', values.instance);
}

/** Names of the metrics in a query that are Holdfast's, or that it takes from Kubernetes, Node and the process. */
export function metricNames(query: string): readonly string[] {
  const pattern = /\b(?:holdfast|controller_runtime|workqueue|apiserver|nodejs|process)_[a-z0-9_]+/g;
  return [...query.matchAll(pattern)].map(([name]) => name.replace(/_(bucket|count|sum)$/, ''));
}

interface RawPanel {
  id: number;
  title: string;
  type: string;
  description?: string;
  targets?: { expr: string }[];
  gridPos: Panel['grid'];
}

function parseDashboard(file: string, json: unknown): Dashboard {
  assert.ok(typeof json === 'object' && json !== null && 'panels' in json && Array.isArray(json.panels), file);
  // The file is ours; a member that is missing fails the assertions of the test that reads it.
  const raw = json as unknown as {
    uid: string;
    panels: RawPanel[];
    annotations: { list: { expr?: string }[] };
    templating: { list: { query?: string | { query: string } }[] };
  };
  return {
    file,
    uid: raw.uid,
    panels: raw.panels
      .filter((panel) => panel.type !== 'row')
      .map(({ id, title, type, description, targets, gridPos }) => ({
        id,
        title,
        type,
        description: description ?? '',
        queries: (targets ?? []).map((target) => target.expr),
        grid: gridPos,
      })),
    otherQueries: raw.annotations.list.flatMap(({ expr }) => expr ?? []),
  };
}
