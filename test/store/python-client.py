"""Debian's python3-kubernetes against a store: argument 1 is a kubeconfig. Ends with 0 if all is as it should be."""
import json
import sys
from kubernetes import client, config, dynamic, watch

config.load_kube_config(sys.argv[1])
core = client.CoreV1Api()
name, place = 'from-python', 'default'

seen = []
revision = core.list_namespaced_config_map(place).metadata.resource_version
made = core.create_namespaced_config_map(place, client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name), data={'a': '1'}))
assert made.metadata.uid and made.data == {'a': '1'}, made
patched = core.patch_namespaced_config_map(name, place, {'data': {'b': '2'}})
assert patched.data == {'a': '1', 'b': '2'}, patched
replaced = core.replace_namespaced_config_map(name, place, patched)
assert replaced.metadata.resource_version == patched.metadata.resource_version, replaced
stale = made
stale.data = {'a': '3'}
try:
    core.replace_namespaced_config_map(name, place, stale)
    raise AssertionError('a stale object was written')
except client.exceptions.ApiException as error:
    assert error.status == 409, error
assert name in [item.metadata.name for item in core.list_namespaced_config_map(place, limit=500).items]
core.delete_namespaced_config_map(name, place)
stream = watch.Watch()
for event in stream.stream(core.list_namespaced_config_map, place, resource_version=revision, field_selector=f'metadata.name={name}', timeout_seconds=60):
    seen.append(event['type'])
    if event['type'] == 'DELETED':
        stream.stop()
assert seen == ['ADDED', 'MODIFIED', 'DELETED'], seen

containers = dynamic.DynamicClient(client.ApiClient()).resources.get(api_version='holdfast.dev/v1', kind='Container')
containers.create(body={'apiVersion': 'holdfast.dev/v1', 'kind': 'Container', 'metadata': {'name': name}, 'spec': {'image': 'nginx'}}, namespace=place)
applied = containers.patch(
    body=json.dumps({'apiVersion': 'holdfast.dev/v1', 'kind': 'Container', 'metadata': {'name': name}, 'spec': {'workingDir': '/srv'}}),
    name=name, namespace=place, content_type='application/apply-patch+yaml', field_manager='python',
)
assert applied.spec.workingDir == '/srv' and applied.spec.image == 'nginx', applied
assert any(entry.manager == 'python' for entry in applied.metadata.managedFields), applied
assert name in [item.metadata.name for item in containers.get(namespace=place).items]
containers.delete(name=name, namespace=place)
try:
    containers.get(name=name, namespace=place)
    raise AssertionError('a deleted object was found')
except client.exceptions.ApiException as error:
    assert error.status == 404, error
