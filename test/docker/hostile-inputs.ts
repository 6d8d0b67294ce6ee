/** What nobody should send to a Docker Engine: endpoints with broken, wrong, huge and hostile parameters and bodies. Pure. */
import fc from 'fast-check';
import type { RawRequest } from './raw-request.ts';

/** Method and path; {x} is drawn. Those that only old or other daemons know are here as well. */
const endpoints = `
GET /_ping|GET /version|GET /info|GET /events|GET /system/df|POST /auth|GET /containers/json|POST /containers/create
POST /containers/prune|GET /containers/{id}/json|GET /containers/{id}/top|GET /containers/{id}/logs
GET /containers/{id}/changes|GET /containers/{id}/export|GET /containers/{id}/stats|POST /containers/{id}/resize
POST /containers/{id}/start|POST /containers/{id}/stop|POST /containers/{id}/restart|POST /containers/{id}/kill
POST /containers/{id}/update|POST /containers/{id}/rename|POST /containers/{id}/pause|POST /containers/{id}/unpause
POST /containers/{id}/attach|GET /containers/{id}/attach/ws|POST /containers/{id}/wait|DELETE /containers/{id}
HEAD /containers/{id}/archive|GET /containers/{id}/archive|PUT /containers/{id}/archive|POST /containers/{id}/exec
POST /exec/{id}/start|POST /exec/{id}/resize|GET /exec/{id}/json|GET /images/json|POST /images/create
GET /images/{id}/json|GET /images/{id}/history|POST /images/{id}/push|POST /images/{id}/tag|DELETE /images/{id}
GET /images/search|POST /images/prune|GET /images/{id}/get|GET /images/get|POST /images/load|POST /commit|POST /build
GET /distribution/{id}/json|GET /volumes|POST /volumes/create|GET /volumes/{id}|DELETE /volumes/{id}
POST /volumes/prune|GET /networks|POST /networks/create|GET /networks/{id}|DELETE /networks/{id}
POST /networks/{id}/connect|POST /networks/{id}/disconnect|POST /networks/prune|POST /session|GET /swarm|GET /services
GET /plugins|GET /secrets|PATCH /containers/{id}|OPTIONS /info|GET /nothing|GET /`
  .trim()
  .split(/[|\n]/)
  .map((line) => {
    const [method = '', path = ''] = line.split(' ');
    return { method, path };
  });

const nasty = [
  ...['', '.', '..', '%2e%2e%2f%2e%2e%2fetc', '%00', '%', '%ff%fe', '__proto__', 'constructor', 'hasOwnProperty'],
  ...['a'.repeat(5_000), 'A_B.c-d', '-1', '1e400', 'null', 'NaN', '{}', '[]', '"', '%0d%0aX: y', '%F0%9F%90%B3'],
  ...['sha256:', `sha256:${'0'.repeat(64)}`, 'f'.repeat(64), 'busybox:latest@sha256:x', 'localhost:99999/x', '../x:y'],
];
/** A container that runs, one that ended, an image, a volume. */
export const targets = ['hostile-runs', 'hostile-ended', 'busybox', 'hostile-data'] as const;
const word = fc.oneof(
  fc.constantFrom<string>(...nasty),
  fc.constantFrom<string>(...targets),
  fc.string({ maxLength: 10 }).map(encodeURIComponentSafe),
);

function encodeURIComponentSafe(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}

const keys =
  `all,limit,size,filters,stdout,stderr,follow,tail,since,until,timestamps,stream,one-shot,signal,t,h,w,force,v,link,
name,path,noOverwriteDirNonDir,condition,detachKeys,logs,stdin,fromImage,fromSrc,tag,repo,term,ps_args,digests,noprune,
platform,names,dangling,quiet,type,remote,dockerfile,container,__proto__`.split(/,\s*/);
const query = fc
  .array(fc.tuple(fc.constantFrom(...keys), fc.oneof(word, filters())), { maxLength: 4 })
  .map((pairs) => pairs.map(([key, value]) => `${key}=${value}`).join('&'));

function filters(): fc.Arbitrary<string> {
  const key = fc.constantFrom(
    'name',
    'id',
    'status',
    'label',
    'ancestor',
    'network',
    'type',
    'until',
    '__proto__',
    'x',
  );
  const values = fc.oneof(fc.constantFrom<unknown>([], {}, null, 1, ['('], [''], { a: true }, { a: 1 }), fc.json());
  return fc.tuple(key, values).map(([name, value]) => encodeURIComponent(JSON.stringify({ [name]: value })));
}

const anything = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    false,
    0,
    -1,
    1.5,
    2 ** 53,
    '',
    'x',
    '\0',
    '$(HOME)',
    [],
    {},
    [null],
    [[]],
    ['', '\0'],
  ),
  fc.constantFrom<unknown>({ __proto__: { polluted: true } }, { a: { b: null } }, [{}], 'a'.repeat(70_000)),
  fc.jsonValue({ maxDepth: 3 }),
);
const fields =
  `Image,Cmd,Entrypoint,Env,Labels,Hostname,Domainname,User,Tty,OpenStdin,StdinOnce,ExposedPorts,Volumes,WorkingDir,StopSignal,
StopTimeout,Healthcheck,NetworkDisabled,MacAddress,Shell,AttachStdin,HostConfig,NetworkingConfig,Name,Driver,DriverOpts,IPAM,Options,
Container,EndpointConfig,Detach,AttachStdout,Privileged,DetachKeys,Memory,NanoCpus,RestartPolicy,username,password,X`.split(
    /,\s*/,
  );
const hostFields =
  `Binds,Mounts,NetworkMode,PortBindings,RestartPolicy,AutoRemove,VolumesFrom,CapAdd,CapDrop,Dns,ExtraHosts,
IpcMode,PidMode,Links,Privileged,PublishAllPorts,ReadonlyRootfs,SecurityOpt,Tmpfs,UTSMode,ShmSize,Sysctls,Runtime,Memory,
MemorySwap,CpuShares,CpusetCpus,Devices,PidsLimit,Ulimits,LogConfig,Init,CgroupParent,OomScoreAdj,GroupAdd,X`.split(
    /,\s*/,
  );

const drawn = (names: readonly string[]): fc.Arbitrary<Record<string, unknown>> =>
  fc
    .array(fc.tuple(fc.constantFrom(...names), anything), { maxLength: 5 })
    .map((entries) => Object.fromEntries(entries));
/** A body that is mostly right, with some fields that are not. */
const likely = fc
  .tuple(drawn(fields), drawn(hostFields))
  .map(([body, host]) => ({ Image: 'busybox', Cmd: ['true'], HostConfig: host, ...body }));

const deep = 100_000;
const bombs = [
  ...['', '{', '[]', 'null', '"x"', '1', '{"Image":', '\ufeff{}', '{"Image":"busybox","Image":1}', 'Image: busybox'],
  ...['['.repeat(deep), '{"a":'.repeat(deep), `${'{"a":'.repeat(5_000)}1${'}'.repeat(5_000)}`],
  ...[`{"Image":"busybox","Env":[${'"A=1",'.repeat(100_000)}"B=2"]}`, '{"__proto__":{"Image":"busybox"}}'],
  ...['{"Image":"busybox","HostConfig":{"Binds":["/:/host:ro,rw,z,Z,x"]}}', '{"Image":"\\ud800"}'],
];
const body = fc.oneof(
  { arbitrary: likely.map((value) => JSON.stringify(value)), weight: 4 },
  { arbitrary: drawn(fields).map((value) => JSON.stringify(value)), weight: 2 },
  { arbitrary: fc.constantFrom<string | undefined>(...bombs, undefined), weight: 2 },
  { arbitrary: fc.string({ maxLength: 40 }), weight: 1 },
);
const headers = fc.oneof(
  { arbitrary: fc.constant<Readonly<Record<string, string>>>({}), weight: 6 },
  {
    arbitrary: fc.constantFrom<Readonly<Record<string, string>>>(
      { 'Content-Type': 'text/plain' },
      { 'Content-Type': 'application/x-tar' },
      { 'Content-Length': '99999999999' },
      { 'Content-Length': '-1' },
      { 'Content-Length': '5', 'Transfer-Encoding': 'chunked' },
      { Connection: 'Upgrade', Upgrade: 'tcp' },
      { Connection: 'Upgrade', Upgrade: 'websocket' },
      { 'X-Registry-Auth': 'bm90IGpzb24=' },
      { 'X-Registry-Auth': '{' },
      { Expect: '100-continue' },
    ),
    weight: 2,
  },
);
const version = fc.constantFrom('', '/v1.41', '/v1.24', '/v1.50', '/v9.99', '/v1', '/vx', '/v1.41/v1.41');

export const hostileRequests: fc.Arbitrary<RawRequest> = fc
  .tuple(fc.constantFrom(...endpoints), version, word, query, body, headers)
  .map(([{ method, path }, prefix, id, search, text, more]) => ({
    method,
    target: `${prefix}${path.replace('{id}', () => id)}${search === '' ? '' : `?${search}`}`,
    headers: more,
    ...(method === 'GET' || method === 'HEAD' || text === undefined ? {} : { body: text }),
  }));
