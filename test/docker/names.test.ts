/** Names of docker for objects, and how what a client says is found and kept. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { containerIDOf, formatRenamedFrom, renamedFromAnnotation } from '../../crds/index.ts';
import { dockerConfigOf, isKubernetesLabel } from '../../docker/docker-config.ts';
import { escapeDollars, unescapeDollars } from '../../docker/dollars.ts';
import { findContainer } from '../../docker/find.ts';
import { dockerNameOf, generateName, isDockerName, nameAnnotations, objectNameFor } from '../../docker/names.ts';
import { object } from '../controller/fixtures.ts';
import { takeSeed } from '../seed.ts';
import { given, type Status } from './fixtures.ts';

describe('docker names', () => {
  const cases: { name: string; object: string | RegExp }[] = [
    { name: 'web', object: 'web' },
    { name: 'web-1', object: 'web-1' },
    { name: 'web_test', object: /^web-test-[0-9a-f]{8}$/ },
    { name: 'namespaceA', object: /^namespacea-[0-9a-f]{8}$/ },
    { name: 'a.b', object: /^a-b-[0-9a-f]{8}$/ },
    { name: `x${'y'.repeat(200)}`, object: /^xy{51}-[0-9a-f]{8}$/ },
  ];
  for (const { name, object: wanted } of cases)
    it(`stands for the object ${wanted} when it is ${name.slice(0, 20)}`, () => {
      assert.ok(isDockerName(name));
      assert.match(objectNameFor(name), typeof wanted === 'string' ? new RegExp(`^${wanted}$`) : wanted);
      const annotations = nameAnnotations(name);
      const shown = dockerNameOf(
        { metadata: { ...object().metadata, name: objectNameFor(name), annotations } },
        'default',
      );
      assert.equal(shown, name);
    });
  it('gives each docker name an object of its own that Kubernetes takes', () => {
    const names = fc.stringMatching(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,80}$/);
    fc.assert(
      fc.property(names, names, (a, b) => {
        assert.match(objectNameFor(a), /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/);
        assert.equal(objectNameFor(a) === objectNameFor(b), a === b);
      }),
      { seed: takeSeed(20_261_128) },
    );
  });
  it('believes no annotation that its object does not stand for', () => {
    const annotations = { 'holdfast.dev/docker-name': 'other' };
    assert.equal(dockerNameOf({ metadata: { ...object().metadata, name: 'web', annotations } }, 'default'), 'web');
  });
  it('names objects of other namespaces as others find them', () => {
    const metadata = { ...object().metadata, name: 'web', namespace: 'shop' };
    assert.equal(dockerNameOf({ metadata }, 'default'), 'web.shop');
  });
  it('generates an adjective and a surname, with digits when such a name is taken', () => {
    assert.match(
      generateName(() => 0.5, 0),
      /^[a-z]+_[a-z]+$/,
    );
    assert.match(
      generateName(() => 0.5, 2),
      /^[a-z]+_[a-z]+\d+$/,
    );
    assert.ok(isDockerName(generateName(() => 0.999_999, 0)));
    assert.ok(isDockerName(generateName(() => 0, 0)));
  });
});

describe('findContainer', () => {
  const [web, db] = [given('web'), given('db')];
  const all = [web, db];
  const id = containerIDOf(web);
  const find = (reference: string): string => findContainer(all, reference, 'default').metadata.name;
  it('takes a full id, a name, a name with its slash, and the beginning of an id', () => {
    for (const reference of [id, 'web', '/web', id.slice(0, 12), id.slice(0, 5)])
      assert.equal(find(reference), 'web', reference);
  });
  it('says so when there is none', () => {
    assert.throws(() => find('nope'), { status: 404, message: 'No such container: nope' });
  });
  it('refuses a beginning that several ids have', () => {
    const many = Array.from({ length: 40 }, (_, index) => given(`c${index}`));
    const first = containerIDOf(many[0] ?? web).slice(0, 1);
    assert.throws(() => findContainer(many, first, 'default'), {
      status: 400,
      message: `Multiple IDs found with provided prefix: ${first}`,
    });
  });
  it('finds the object that has the container while another takes it over', () => {
    const heir = given('web2', {}, { annotations: { [renamedFromAnnotation]: formatRenamedFrom(web) } });
    const before = { ...web, status: { ...web.status, containerID: id } as Status }; // partial on purpose
    assert.equal(findContainer([heir, before], id, 'default').metadata.name, 'web');
    assert.equal(findContainer([heir], id, 'default').metadata.name, 'web2');
  });
});

describe('texts of docker in specs', () => {
  it('come back as they were, whatever dollars they have', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('$', '(', ')', 'A', ' ') }),
        (text) => unescapeDollars(escapeDollars(text)) === text,
      ),
      { seed: takeSeed(20_261_128) },
    );
    assert.equal(escapeDollars('$(HOME) $$'), '$$(HOME) $$$$');
  });
  it('know which labels Kubernetes takes', () => {
    const rows: [string, string, boolean][] = [
      ['com.docker.compose.project', 'shop', true],
      ['a/b', '', true],
      ['com.docker.compose.project.working_dir', '/srv/shop', false],
      ['', 'x', false],
      ['a b', 'x', false],
      ['x', 'y'.repeat(64), false],
      ['A/b', 'x', false],
    ];
    for (const [key, value, wanted] of rows) assert.equal(isKubernetesLabel(key, value), wanted, `${key}=${value}`);
  });
  it('read nothing from an annotation that somebody spoilt', () => {
    for (const text of ['{', '[]', 'null', '{"Config":3,"Labels":{"a":1}}']) {
      const config = dockerConfigOf(given('web', {}, { annotations: { 'holdfast.dev/docker-config': text } }));
      assert.deepEqual(config, { Config: {}, HostConfig: {}, NetworkingConfig: {}, Labels: {} });
    }
  });
});
