"""Debian's python3-docker drives an engine: sys.argv[1] is its socket. Ends with an AssertionError at the first difference."""
import io
import sys
import tarfile
import threading
import time
import docker
from docker.errors import APIError, ContainerError, ImageNotFound, NotFound

client = docker.DockerClient(base_url='unix://' + sys.argv[1], version='auto', timeout=120)


def fails(kind, status, text, work):
    try:
        work()
    except kind as error:
        if status is not None:
            assert error.status_code == status, error
        assert text in str(error), error
        return
    raise AssertionError('it worked: ' + text)


def until(condition, what):
    end = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < end, 'waited in vain for ' + what
        time.sleep(0.1)


def runs_to_its_end():
    assert client.ping()
    assert client.version()['ApiVersion'] >= '1.41'
    assert client.containers.run('busybox', 'echo hello', remove=True) == b'hello\n'
    fails(ContainerError, None, 'non-zero exit status 3',
          lambda: client.containers.run('busybox', ['sh', '-c', 'echo wrong >&2; exit 3'], remove=True))
    fails(ImageNotFound, 404, 'No such image', lambda: client.api.create_container('no/such/image:1'))
    assert client.containers.list(all=True) == []


def lives():
    box = client.containers.run(
        'busybox', ['sh', '-c', 'trap "exit 0" TERM; i=0; while :; do i=$((i+1)); echo line $i; sleep 0.2 & wait $!; done'],
        name='Py_Box.1', detach=True, labels={'com.example.Kind': 'test', 'plain': 'x'}, environment=['A=1', 'B=$HOME'],
        mem_limit='64m', pids_limit=50, working_dir='/tmp', hostname='boxhost')
    try:
        assert len(box.id) == 64 and box.name == 'Py_Box.1' and box.short_id in (box.id[:10], box.id[:12])
        box.reload()
        assert box.status == 'running' and box.labels['com.example.Kind'] == 'test'
        assert box.attrs['HostConfig']['Memory'] == 64 * 1024 * 1024
        lines = box.logs(stream=True, follow=True)
        text = b''
        while b'line 3\n' not in text:
            text += next(lines)
        lines.close()
        assert text.startswith(b'line 1\nline 2\n'), text
        assert box.logs(tail=1, timestamps=True).split(b' ', 1)[1].startswith(b'line ')
        done = box.exec_run(['sh', '-c', 'echo out; echo err >&2; exit 4'], demux=True)
        assert done.exit_code == 4 and done.output == (b'out\n', b'err\n'), done
        assert box.exec_run(['sh', '-c', 'echo "$B" "$C"'], environment={'C': 'see'}).output == b'$HOME see\n'
        assert box.exec_run('pwd', workdir='/etc').output == b'/etc\n'
        assert box.exec_run('id -u', user='33').output == b'33\n'
        assert box.exec_run('hostname').output == b'boxhost\n'
        stats = box.stats(stream=False)
        assert 0 < stats['memory_stats']['usage'] < 64 * 1024 * 1024, stats['memory_stats']
        assert stats['memory_stats']['limit'] == 64 * 1024 * 1024 and stats['pids_stats']['current'] >= 1
        assert stats['cpu_stats']['cpu_usage']['total_usage'] > 0 and 'eth0' in stats['networks']
        frames = box.stats(stream=True, decode=True)
        assert next(frames)['id'] == box.id
        frames.close()
        titles = box.top()['Titles']
        assert 'PID' in titles and any('trap' in ' '.join(row) for row in box.top()['Processes'])
        files = io.BytesIO()
        with tarfile.open(fileobj=files, mode='w') as archive:
            entry = tarfile.TarInfo('given.txt')
            entry.size = 5
            archive.addfile(entry, io.BytesIO(b'given'))
        assert box.put_archive('/tmp', files.getvalue())
        bits, stat = box.get_archive('/tmp/given.txt')
        assert stat['name'] == 'given.txt' and stat['size'] == 5
        with tarfile.open(fileobj=io.BytesIO(b''.join(bits))) as archive:
            assert archive.extractfile('given.txt').read() == b'given'
        assert {'Path': '/tmp/given.txt', 'Kind': 1} in box.diff()
        fails(APIError, 409, 'is already in use by container', lambda: client.containers.create('busybox', name='Py_Box.1'))
        box.rename('py_renamed')
        assert client.containers.get('py_renamed').id == box.id
        fails(NotFound, 404, 'No such container', lambda: client.containers.get('Py_Box.1'))
        box.pause()
        box.reload()
        assert box.status == 'paused'
        box.unpause()
        box.restart(timeout=5)
        box.reload()
        assert box.status == 'running'
        assert [one.id for one in client.containers.list(filters={'label': 'com.example.Kind=test'})] == [box.id]
        fails(APIError, 409, 'emove', lambda: box.remove())
        # A run that has not set its trap yet does not end by TERM.
        until(lambda: box.logs().count(b'line 1\n') == 2, 'the first line of the second run')
        box.stop(timeout=20)
        assert box.wait(timeout=60)['StatusCode'] == 0
        box.reload()
        assert box.status == 'exited'
        box.start()
        box.kill()
        assert box.wait(timeout=60)['StatusCode'] == 137
    finally:
        box.remove(force=True, v=True)


def tells_events():
    seen = []
    events = client.events(decode=True, filters={'type': 'container', 'label': 'told'})
    gone = threading.Event()

    def read():
        for event in events:
            seen.append(event['Action'])
            if event['Action'] == 'destroy':
                gone.set()
                return

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    client.containers.run('busybox', 'true', remove=True, labels=['told'])
    assert gone.wait(60), seen
    assert [action for action in seen if action in ('create', 'start', 'die', 'destroy')] == ['create', 'start', 'die', 'destroy'], seen


def keeps_volumes():
    volume = client.volumes.create('py_data', labels={'kind': 'test'})
    try:
        assert [one.name for one in client.volumes.list(filters={'label': 'kind=test'})] == ['py_data']
        client.containers.run('busybox', ['sh', '-c', 'echo kept >/data/file'], remove=True, volumes={'py_data': {'bind': '/data', 'mode': 'rw'}})
        reader = client.containers.create('busybox', 'cat /data/file', volumes={'py_data': {'bind': '/data', 'mode': 'ro'}})
        try:
            fails(APIError, 409, 'volume is in use', volume.remove)
            reader.start()
            assert reader.wait(timeout=60)['StatusCode'] == 0
            assert reader.logs() == b'kept\n'
        finally:
            reader.remove(force=True)
    finally:
        volume.remove()
    fails(NotFound, 404, 'py_data', lambda: client.volumes.get('py_data'))


def joins_networks():
    network = client.networks.create('py_net', driver='bridge', labels={'kind': 'test'})
    server = client.containers.run('busybox', ['sh', '-c', 'while true; do echo found | nc -l -p 80; done'], detach=True, network='py_net', name='server')
    try:
        assert client.containers.run('busybox', ['sh', '-c', 'until nc server 80; do sleep 0.1; done'], remove=True, network='py_net') == b'found\n'
        network.reload()
        assert list(network.attrs['Containers']) == [server.id]
        fails(APIError, 403, 'has active endpoints', network.remove)
    finally:
        server.remove(force=True)
        network.remove()
    assert client.networks.list(names=['py_net']) == []


def knows_images():
    image = client.images.get('busybox')
    assert image.id.startswith('sha256:') and 'busybox:latest' in image.tags
    assert image.tag('py/tagged', tag='one')
    assert 'py/tagged:one' in client.images.get(image.id).tags
    client.images.remove('py/tagged:one')
    fails(ImageNotFound, 404, 'No such image', lambda: client.images.get('py/tagged:one'))
    assert len(image.history()) >= 1
    packed = b''.join(image.save(named='busybox:latest'))
    assert client.images.load(packed)[0].id == image.id


for check in (runs_to_its_end, lives, tells_events, keeps_volumes, joins_networks, knows_images):
    try:
        check()
    except BaseException:
        print('in ' + check.__name__, file=sys.stderr)
        raise
assert client.containers.list(all=True) == []
