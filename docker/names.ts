/**
 * Docker's names, and the objects' names that stand for them. Docker allows upper case, _ and . where Kubernetes does not;
 * where the two differ, the docker name stands in an annotation. Pure.
 */
import { hash } from 'node:crypto';
import type { Container } from '../crds/index.ts';

/** The name that docker shows, if it is not the object's own. */
export const dockerNameAnnotation = 'holdfast.dev/docker-name';

/** Source: moby daemon/names/names.go, RestrictedNamePattern. */
const dockerName = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;
const objectName = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

export function isDockerName(name: string): boolean {
  return dockerName.test(name) && name.length <= 255;
}

/**
 * The name of the object for a docker name: the same where Kubernetes takes it, else a readable form of it and a digest,
 * so that two docker names never share one. For a name of docker's pattern only.
 */
export function objectNameFor(name: string): string {
  if (objectName.test(name)) return name;
  const readable = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, 52)
    .replaceAll(/^-+|-+$/g, '');
  return `${readable === '' ? 'c' : readable}-${hash('sha256', name, 'hex').slice(0, 8)}`;
}

/** Annotations of an object that stands for a docker name. */
export function nameAnnotations(name: string): Readonly<Record<string, string>> {
  return objectNameFor(name) === name ? {} : { [dockerNameAnnotation]: name };
}

/** Without the slash that docker puts before it. Objects of other namespaces than docker's are named as others find them. */
export function dockerNameOf({ metadata }: Pick<Container, 'metadata'>, dockerNamespace: string): string {
  const { name, namespace, annotations } = metadata;
  const own = annotations?.[dockerNameAnnotation];
  // Whoever writes an object can write the annotation: it counts only for the object that its name stands for.
  const shown = own !== undefined && isDockerName(own) && objectNameFor(own) === name ? own : name;
  return namespace === dockerNamespace ? shown : `${shown}.${namespace}`;
}

/** `random` gives numbers from 0 to 1 (exclusive). As Docker's: an adjective and the surname of somebody of note. */
export function generateName(random: () => number, attempt: number): string {
  const pick = (words: readonly string[]): string => words[Math.floor(random() * words.length)] ?? 'brave';
  const digits = attempt === 0 ? '' : String(Math.floor(random() * 10 ** Math.min(attempt, 6)));
  return `${pick(adjectives)}_${pick(surnames)}${digits}`;
}

const adjectives =
  `able agile alert ample apt avid awake bold brave bright brisk calm candid careful cheerful clear clever
 cool cosy curious daring deft eager early earnest easy even exact fair fervent festive fine firm fond frank free fresh
 gentle glad good grand great handy happy hardy hearty helpful honest hopeful jolly jovial keen kind lasting lively loyal
 lucid lucky mellow merry modest neat nimble noble patient placid plucky polite proud prudent quick quiet ready robust
 serene sharp silent sincere smart snug sober solid sound spry stable stark steady stoic strong sturdy subtle sunny sure
 swift tender thrifty tidy trusty upbeat valiant vigilant vivid warm watchful wise witty zealous`.split(/\s+/);

const surnames =
  `agnesi allen almeida ampere archimedes babbage banach banneker bardeen bassi bell bhabha blackwell bohr
 boole borg bose boyd brahe brattain brown burnell cannon carson cartwright cerf chandrasekhar chaplygin chatelet
 chatterjee chaum church clarke colden cori cray curie darwin davinci dewdney diffie dijkstra dirac driscoll dubinsky
 easley edison einstein elion engelbart euclid euler faraday fermat fermi feynman franklin gagarin galileo galois ganguly
 gates gauss germain goldberg goldstine goldwasser golick goodall gould greider grothendieck haibt hamilton hawking heisenberg
 hellman hermann herschel hertz heyrovsky hodgkin hofstadter hoover hopper hugle hypatia ishizaka jackson jang jemison
 jennings jepsen johnson joliot jones kalam kapitsa kare keldysh keller kepler khayyam khorana kilby kirch knuth kowalevski
 lalande lamarr lamport leakey leavitt lederberg lehmann lewin lichterman liskov lovelace lumiere mahavira margulis matsumoto
 maxwell mayer mccarthy mcclintock mclaren mclean mcnulty meitner mendel mendeleev meninsky merkle mestorf mirzakhani montalcini
 moore morse moser murdock napier nash neumann newton nightingale nobel noether northcutt noyce panini pare pascal pasteur
 payne perlman pike poincare poitras proskuriakova ptolemy raman ramanujan rhodes ride ritchie robinson roentgen rosalind rubin
 saha sammet sanderson satoshi shamir shannon shaw shirley shockley shtern sinoussi snyder solomon spence stonebraker sutherland
 swanson swartz swirles taussig tesla tharp thompson torvalds tu turing varahamihira vaughan villani visvesvaraya volhard wescoff
 wilbur wiles williams williamson wilson wing wozniak wright wu yalow yonath zhukovsky`.split(/\s+/);
