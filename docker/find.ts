/** Which container a user means: by its full id, by its name, or by the beginning of its id. Pure. */
import { type Container, containerIDOf } from '../crds/index.ts';
import { badParameter, type DockerError, notFound } from './docker-error.ts';
import { dockerNameOf } from './names.ts';

/** Of several objects of one id, one of which takes over from the other, the one that has the container. */
function isBefore(a: Container, b: Container): boolean {
  const [idA, idB] = [a.status?.containerID, b.status?.containerID];
  return (idA === undefined) === (idB === undefined)
    ? a.metadata.creationTimestamp < b.metadata.creationTimestamp
    : idB === undefined;
}

/** In Docker's order: id, name, prefix of an id. Throws DockerError. Source: moby container/view.go, GetByPrefix. */
export function findContainer(all: readonly Container[], reference: string, dockerNamespace: string): Container {
  const best = (chosen: readonly Container[]): Container | undefined =>
    chosen.toSorted((a, b) => (isBefore(a, b) ? -1 : 1)).at(0);
  const byID = best(all.filter((one) => containerIDOf(one) === reference));
  if (byID !== undefined) return byID;
  const name = reference.replace(/^\//, '');
  const byName = all.find((one) => dockerNameOf(one, dockerNamespace) === name);
  if (byName !== undefined) return byName;
  const begun = /^[0-9a-f]{1,64}$/.test(reference) ? all.filter((one) => containerIDOf(one).startsWith(reference)) : [];
  const found = best(begun);
  if (found === undefined) throw noSuchContainer(reference);
  const id = containerIDOf(found);
  if (begun.some((one) => containerIDOf(one) !== id))
    throw badParameter(`Multiple IDs found with provided prefix: ${reference}`);
  return found;
}

export function noSuchContainer(reference: string): DockerError {
  return notFound(`No such container: ${reference}`);
}
