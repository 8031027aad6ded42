/**
 * Runs a host program that starts others and mounts things, so that all of it goes when it is broken off: a shell script of a template,
 * a builder of systems. It gets process and mount namespaces of its own, which end with it, as lxc-create(1) gives its templates a mount
 * namespace; where the caller has no right to these, a session that is killed as one (Linux 6.9).
 */
import { findProgram, hasProgram, type ProgramOptions, type ProgramResult, runProgram } from '../native/program.ts'

/** Mounts of the host still come and go in there; what is mounted in there stays in there. */
const NAMESPACES = ['--mount', '--propagation', 'slave', '--pid', '--mount-proc', '--fork', '--kill-child', '--']

/** Runs it to its end. Throws ERR_TOOL_MISSING, ERR_TOOL_FAILED with its last words, or ERR_ABORTED after all of it has gone. */
export async function runFamily(
  name: string,
  args: readonly string[],
  options: Omit<ProgramOptions, 'group' | 'label' | 'talks'> = {},
): Promise<ProgramResult> {
  const command = [findProgram(name), ...args]
  const given = { ...options, label: name, talks: true }
  if (await canSeparate(options.signal)) return runProgram('unshare', [...NAMESPACES, ...command], given)
  return runProgram('setsid', ['--', ...command], { ...given, group: true })
}

/** Root of a host may; root of a container whose /proc is covered may not, and not every unshare(1) can. */
async function canSeparate(signal: AbortSignal | undefined): Promise<boolean> {
  if (process.geteuid?.() !== 0 || !hasProgram('unshare')) return false
  const { code } = await runProgram('unshare', [...NAMESPACES, 'true'], { signal, accept: [1, 2, 127] })
  return code === 0
}
