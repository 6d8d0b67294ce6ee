/** What the images with a database server have in common: MariaDB's packages, and what of them nothing here runs. Effects. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';

/** This file, as a source of the images that it shapes. */
export const mariadbSource: string = import.meta.filename;

/** The client's package has my_print_defaults, which making a new database needs. */
export const mariadbPackages: readonly string[] = ['mariadb-server-core', 'mariadb-client-core'];

/** Libraries and packages that the server's and the client's need; for DebianRoot.wanted. */
export const mariadbWanted = /^(?:lib(?!perl|debian)|zlib1g|mariadb-common)/;

export const mariadbUser = ['mysql', 101, '/var/lib/mysql'] as const;

/** Takes out programs that are not used here, 40 MB of them. */
export async function trimMariadb(rootDir: string): Promise<void> {
  for (const path of ['usr/bin/mariadb-embedded', 'usr/share/mysql/mysql-test']) {
    await rm(join(rootDir, path), { recursive: true, force: true });
  }
}
