/** What an AbortSignal of the caller becomes: an error of ours. */
import { ContainerError } from './errors.ts'

/** Throws ERR_ABORTED, `Cannot <action>: aborted`, when the signal has fired. */
export function throwIfAborted(signal: AbortSignal | undefined, action: string): void {
  if (signal?.aborted) throw new ContainerError('ERR_ABORTED', `Cannot ${action}: aborted`, { cause: signal.reason })
}
