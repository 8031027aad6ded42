/**
 * A mistake in the text of a value, before it is known which key, file and line it belongs to; {@link locate} adds that.
 */
import { ContainerError, type ErrorCode } from '../errors.ts'

/** Where a piece of config text stands; lines and columns count from 1. */
export interface Place {
  readonly file?: string | undefined
  readonly line?: number | undefined
  readonly column?: number | undefined
}

/** `message` completes "Cannot set KEY: "; `offset` is how far into the value the mistake is, in characters. */
export function mistake(
  message: string,
  hint?: string,
  offset = 0,
  code: ErrorCode = 'ERR_CONFIG_VALUE',
): ContainerError {
  return new ContainerError(code, message, { hint, column: offset + 1 })
}

/** The same mistake with its key and place, which is what a user sees. */
export function locate(error: unknown, action: string, place: Place): ContainerError {
  const { code, message, hint, column } = describe(error)
  return new ContainerError(code, `${at(place)}${action}: ${message}`, {
    hint,
    file: place.file,
    line: place.line,
    column: place.column === undefined ? undefined : place.column + (column ?? 1) - 1,
  })
}

/** `file:line: `, or as much of it as is known. */
export function at(place: Place): string {
  if (place.line === undefined) return place.file === undefined ? '' : `${place.file}: `
  return place.file === undefined ? `line ${place.line}: ` : `${place.file}:${place.line}: `
}

function describe(error: unknown): { code: ErrorCode | string; message: string; hint?: string; column?: number } {
  if (!(error instanceof ContainerError)) throw error
  const message = error.message.split('\n  hint: ')[0] as string
  return {
    code: error.code,
    message,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    ...(error.column === undefined ? {} : { column: error.column }),
  }
}
