/** Definitions of resources as the real kubectl handles them: what comes after them in the same breath works. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { kubectl } from '../tools.ts';
import { type Fixture, startStore } from './fixture.ts';
import { createKubectlHome, type KubectlHome } from './kubectl-home.ts';

const definition = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: crontabs.stable.example.com }
spec:
  group: stable.example.com
  scope: Namespaced
  names: { plural: crontabs, singular: crontab, kind: CronTab, shortNames: [ct] }
  versions:
    - name: v1
      served: true
      storage: true
      additionalPrinterColumns:
        - { name: Spec, type: string, jsonPath: .spec.cronSpec }
        - { name: Replicas, type: integer, jsonPath: .spec.replicas }
      selectableFields: [{ jsonPath: .spec.image }]
      subresources:
        status: {}
        scale:
          specReplicasPath: .spec.replicas
          statusReplicasPath: .status.replicas
          labelSelectorPath: .status.labelSelector
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              required: [cronSpec]
              x-kubernetes-validations:
                - { rule: self.replicas <= 10, message: at most ten, fieldPath: .replicas }
              properties:
                cronSpec: { type: string, pattern: '^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$', description: When it runs. }
                image: { type: string }
                replicas: { type: integer, minimum: 0, default: 1 }
            status:
              type: object
              properties: { replicas: { type: integer }, labelSelector: { type: string } }
`;

const instance = `apiVersion: stable.example.com/v1
kind: CronTab
metadata: { name: mine }
spec: { cronSpec: '* * * * */5', image: awesome }
`;

describe('store: definitions of resources with kubectl', () => {
  let fixture: Fixture;
  let home: KubectlHome;
  before(async () => {
    fixture = await startStore();
    home = await createKubectlHome(kubectl(), fixture.store);
    await writeFile(join(home.dir, 'crd.yaml'), definition);
    await writeFile(join(home.dir, 'one.yaml'), instance);
  });
  after(async () => {
    await fixture.close();
    await home.close();
  });

  const run = (...args: readonly string[]) => home.run(...args);
  const ok = (...args: readonly string[]) => home.ok(...args);

  it('creates a definition and an object of it at once, explains, scales, selects and removes', async () => {
    await ok('apply', '-f', 'crd.yaml');
    assert.match(await ok('create', '-f', 'one.yaml'), /crontab.stable.example.com\/mine created/u);
    assert.match(await ok('wait', '--for=condition=Established', 'crd/crontabs.stable.example.com'), /condition met/u);
    assert.match(await ok('get', 'ct'), /NAME +SPEC +REPLICAS\nmine +\* \* \* \* \*\/5 +1\n/u);
    assert.match(await ok('explain', 'crontabs.spec.cronSpec'), /When it runs\./u);
    assert.match(
      await ok('get', 'crd'),
      /NAME +CREATED AT\ncontainers.holdfast.dev +20\S+Z\ncrontabs.stable.example.com +20/u,
    );
    assert.match(await ok('scale', '--replicas=3', 'crontab/mine'), /scaled/u);
    assert.match(
      await ok('get', 'ct', '--field-selector', 'spec.image=awesome', '-o', 'jsonpath={.items[*].spec.replicas}'),
      /^3$/u,
    );
    const refused = await run('scale', '--replicas=11', 'crontab/mine');
    assert.match(refused.stderr, /spec.replicas: Invalid value: "object": at most ten/u);
    await ok('apply', '-f', 'crd.yaml'); // as it is already
    await ok('delete', '-f', 'crd.yaml');
    assert.equal((await run('get', 'crontabs')).code, 1);
  });
});
