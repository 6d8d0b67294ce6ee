/**
 * Chapter 2 of 'Docker in Action' by Debian's dockerd, which shows that the script asks for nothing but what Docker does.
 */
import { startDockerdEngine } from './engines.ts';
import { tellChapter } from './tell-chapter.ts';

tellChapter('dockerd', startDockerdEngine);
