/**
 * 'Docker in Action', chapter 2, from its first command to its last, with the real docker command: what the book says,
 * and where today's Docker differs from the book, what Docker does. Every check builds on those before it.
 */
import type { Section } from './book.ts';
import { cleaningUp, durable } from './chapter-durable.ts';
import { environments } from './chapter-environment.ts';
import { pidNamespaces, websiteFarm } from './chapter-farm.ts';
import { help, websiteMonitor } from './chapter-monitor.ts';

export const chapter: readonly Section[] = [
  help,
  websiteMonitor,
  pidNamespaces,
  websiteFarm,
  environments,
  durable,
  cleaningUp,
];
