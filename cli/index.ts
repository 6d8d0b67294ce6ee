/**
 * cli/: configuration, wiring and the commands of bin/holdfast (its entry is main.ts).
 * Used by: bin/holdfast, tests. May import: all folders. Must not know: crun, SQL (but for taking SQLite's lock).
 */
export { type Config, ConfigError, parseConfig } from './config.ts';
export { diagnose, type Finding, formatFindings, type HostFacts } from './doctor.ts';
export { formatLog } from './format-log.ts';
export { formatImages, parseImageCommand } from './image-command.ts';
export { formatAge, formatChange, formatPicture } from './picture.ts';
