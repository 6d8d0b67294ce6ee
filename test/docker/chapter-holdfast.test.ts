/** Chapter 2 of 'Docker in Action' by Holdfast. A file of its own, so that it runs beside dockerd's. */
import { startHoldfastEngine } from './engines.ts';
import { tellChapter } from './tell-chapter.ts';

tellChapter('Holdfast', startHoldfastEngine);
