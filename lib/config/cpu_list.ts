/** Lists of processors as the kernel writes them: '0-2,7'. cpuset(7) "List format" */

/** The numbers of a list, ascending, each once; undefined when it is none. */
export function parseCpuList(text: string): number[] | undefined {
  const numbers = new Set<number>()
  for (const part of text.split(',')) {
    const match = /^\s*(\d{1,5})(?:-(\d{1,5}))?\s*$/.exec(part)
    const [first, last] = [Number(match?.[1]), Number(match?.[2] ?? match?.[1])]
    if (match === null || last < first) return undefined
    for (let cpu = first; cpu <= last; cpu++) numbers.add(cpu)
  }
  return [...numbers].sort((a, b) => a - b)
}

/** The shortest list of ascending numbers. */
export function printCpuList(cpus: readonly number[]): string {
  const ranges: [number, number][] = []
  for (const cpu of cpus) {
    const last = ranges.at(-1)
    if (last !== undefined && cpu === last[1] + 1) last[1] = cpu
    else ranges.push([cpu, cpu])
  }
  return ranges.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(',')
}
