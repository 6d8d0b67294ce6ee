/**
 * store/streams/: the kubelet's streaming protocols: exec, attach and port-forward over WebSocket and SPDY/3.1.
 * Used by: store/. May import: the errors and queries of store/, npm. Must not know: what runs the processes.
 */

export type { CommandOptions, ExecOptions } from './options.ts';
export type { DialPort, OpenSession, Session, TerminalSize } from './session.ts';
export { ClientGoneError, isStreamUpgrade, StreamServer, type StreamSubresource } from './stream-server.ts';
