/** Which containers have which image. Pure. */
import { type Container, containerIDOf } from '../crds/index.ts';
import { isUp, stateOf } from './container-state.ts';
import type { ImageUser } from './image-removal.ts';

/** One that has not got its image yet has none. */
export function imageUsers(objects: readonly Container[], nowMs: number): readonly ImageUser[] {
  return objects.flatMap((object) => {
    const imageID = object.status?.imageID;
    return imageID === undefined
      ? []
      : [{ id: containerIDOf(object), imageID, isRunning: isUp(stateOf(object, nowMs)) }];
  });
}
