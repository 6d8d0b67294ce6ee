/** The manifests for a real API server: the controller's role allows what the controller does, and nothing more. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { loadAll } from 'js-yaml';

const manifests = join(import.meta.dirname, '../../deploy/kubernetes/rbac.yaml');

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly rules?: readonly { readonly apiGroups: string[]; readonly resources: string[]; readonly verbs: string[] }[];
  readonly roleRef?: { readonly name: string };
  readonly subjects?: readonly { readonly kind: string; readonly name: string; readonly namespace: string }[];
}

describe('deploy/kubernetes/rbac.yaml', () => {
  let documents: readonly Manifest[] = [];
  before(async () => {
    // The file is ours; what is missing in it fails an assertion below.
    documents = loadAll(await readFile(manifests, 'utf8')) as Manifest[];
  });
  const named = (kind: string, name: string) =>
    documents.find((document) => document.kind === kind && document.metadata.name === name);

  it("allows a host's controller to follow Containers and what they refer to, to patch them and their status, and to write Events and its Node", () => {
    assert.deepEqual(named('ClusterRole', 'holdfast-controller')?.rules, [
      { apiGroups: ['holdfast.dev'], resources: ['containers'], verbs: ['get', 'list', 'watch', 'patch', 'delete'] },
      { apiGroups: ['holdfast.dev'], resources: ['containers/status'], verbs: ['patch'] },
      { apiGroups: ['holdfast.dev'], resources: ['networks'], verbs: ['get', 'list', 'watch'] },
      { apiGroups: [''], resources: ['events'], verbs: ['create', 'patch'] },
      { apiGroups: [''], resources: ['secrets', 'configmaps'], verbs: ['get', 'list', 'watch'] },
      { apiGroups: [''], resources: ['namespaces'], resourceNames: ['kube-system'], verbs: ['get'] },
      { apiGroups: [''], resources: ['nodes'], verbs: ['get', 'create', 'patch'] },
      { apiGroups: [''], resources: ['nodes/status'], verbs: ['patch'] },
      { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['create', 'patch'] },
    ]);
  });

  it("allows a host that serves docker's clients to write Containers and Networks, and is bound by nobody unasked", () => {
    assert.deepEqual(named('ClusterRole', 'holdfast-docker')?.rules, [
      {
        apiGroups: ['holdfast.dev'],
        resources: ['containers', 'networks'],
        verbs: ['get', 'list', 'watch', 'create', 'patch', 'delete'],
      },
    ]);
  });

  it('binds that role to accounts that it makes, in a namespace that it makes', () => {
    const bindings = documents.filter(({ kind }) => kind === 'ClusterRoleBinding');
    assert.ok(bindings.length > 0);
    for (const { roleRef, subjects } of bindings) {
      assert.equal(roleRef?.name, 'holdfast-controller');
      assert.ok(subjects !== undefined && subjects.length > 0);
      for (const { kind, name, namespace } of subjects) {
        assert.equal(named(kind, name)?.metadata.namespace, namespace);
        assert.ok(named('Namespace', namespace));
      }
    }
  });
});
