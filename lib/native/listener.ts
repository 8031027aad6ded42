/** The addon's listener of system calls, its failures thrown. */
import { type Action, check, type NativeListener, native } from './binding.ts'
import type { SyscallCall } from './spec.ts'

/** A listener whose methods throw ContainerErrors; false means that the caller is gone. */
export type Listener = {
  [Method in keyof NativeListener]: (
    ...args: Parameters<NativeListener[Method]>
  ) => Exclude<ReturnType<NativeListener[Method]>, { failure: unknown }>
}

/** Takes a listener and its journal, as the monitor hands them out. Throws ERR_CONTAINER_BUSY while another process answers. */
export function openListener(
  [listener, journal]: readonly [listener: number, journal: number],
  deliver: (call: SyscallCall | null) => void,
  action: Action,
): Listener {
  const opened = check(native().addon.openListener(listener, journal, deliver), action)
  return {
    answer: (id, value, error, flags) => check(opened.answer(id, value, error, flags), action),
    inject: (id, descriptor, flags) => check(opened.inject(id, descriptor, flags), action),
    read: (id, pid, address, length) => check(opened.read(id, pid, address, length), action),
    mount: (id, pid, source, target, readOnly) => check(opened.mount(id, pid, source, target, readOnly), action),
    stop: () => opened.stop(),
    close: () => opened.close(),
  }
}
