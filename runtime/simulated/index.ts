/**
 * runtime/simulated/: the runtime's interface over timers, without processes, for tests of scale and of rare faults.
 * Used by: tests. May import: runtime/interface.ts. Must not know: crun, conmon, Kubernetes.
 */
export {
  type Behaviour,
  createSimulatedRuntime,
  type SimulatedRuntime,
  type SimulatedRuntimeDeps,
} from './simulated-runtime.ts';
