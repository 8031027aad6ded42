/** The template `download` in a conversation, as LXC's own has it: what the server has is listed, and what was not said is asked for. */
import { createInterface } from 'node:readline'
import { listImages } from '../image/download.ts'
import { UsageError } from './options.ts'

/** What the template must be told, and the question for it. */
const QUESTIONS = { dist: 'Distribution', release: 'Release', arch: 'Architecture' } as const

/** The options of a template, as Container.create takes them. */
export type TemplateOptions = Readonly<Record<string, unknown>>

/** Whether there is something to list or to ask. */
export function isOpen(options: TemplateOptions): boolean {
  return options.list === true || Object.keys(QUESTIONS).some(name => options[name] === undefined)
}

/**
 * Prints the images that fit what is given, and asks for the rest: a line of standard input each, from a terminal or not. undefined: only
 * the list was wanted. `unprivileged`: servers may have other images for containers with a user namespace.
 */
export async function converse(
  given: TemplateOptions,
  unprivileged: boolean,
  say: (line: string) => void,
): Promise<TemplateOptions | undefined> {
  const { list, ...options } = given
  say('Downloading the image index')
  const images = await listImages(options, unprivileged)
  say('\n---\nDIST\tRELEASE\tARCH\tVARIANT\tBUILD\n---')
  for (const { dist, release, arch, variant, build } of images) say([dist, release, arch, variant, build].join('\t'))
  say('---')
  if (list === true) return undefined
  say('')
  const answers = await ask(options, say)
  say('')
  return { ...options, ...answers }
}

async function ask(options: TemplateOptions, say: (line: string) => void): Promise<Record<string, string>> {
  const input = createInterface({ input: process.stdin, terminal: false })
  const lines = input[Symbol.asyncIterator]()
  const answers: Record<string, string> = {}
  try {
    for (const [name, question] of Object.entries(QUESTIONS)) {
      if (options[name] !== undefined) continue
      say(`${question}: `)
      const { value = '' } = await lines.next()
      if (value.trim() === '') throw new UsageError(`no ${question.toLowerCase()} was given; --${name} gives it, too`)
      answers[name] = value.trim()
    }
  } finally {
    input.close()
  }
  return answers
}
