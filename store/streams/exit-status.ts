/**
 * How a process ended, as the last words of a stream: a metav1.Status, or plain text in the protocols before v4. Pure.
 * Source: k8s.io/kubelet/pkg/cri/streaming/remotecommand, whose clients look for the cause ExitCode.
 */
import type { CommandResult } from './session.ts';

/** The Status as JSON. */
export function formatExitStatus(result: CommandResult): string {
  switch (result.kind) {
    case 'detached':
      return JSON.stringify({ metadata: {}, status: 'Success' });
    case 'exited': {
      const { code } = result;
      if (code === 0) return JSON.stringify({ metadata: {}, status: 'Success' });
      return JSON.stringify({
        metadata: {},
        status: 'Failure',
        message: formatExit(code),
        reason: 'NonZeroExitCode',
        details: { causes: [{ reason: 'ExitCode', message: String(code) }] },
      });
    }
    case 'failed': {
      const { code, reason, message } = result.status;
      return JSON.stringify({ metadata: {}, status: 'Failure', message, reason, code });
    }
    default:
      throw new TypeError(`unknown result: ${JSON.stringify(result satisfies never)}`);
  }
}

/** For clients that know no Status; empty for success. */
export function formatExitText(result: CommandResult): string {
  switch (result.kind) {
    case 'detached':
      return '';
    case 'exited':
      return result.code === 0 ? '' : formatExit(result.code);
    case 'failed':
      return result.status.message;
    default:
      throw new TypeError(`unknown result: ${JSON.stringify(result satisfies never)}`);
  }
}

function formatExit(code: number): string {
  return `command terminated with non-zero exit code: exit status ${code}`;
}
