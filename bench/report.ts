/** What was measured, as Markdown and as a picture. */
import { readFileSync } from 'node:fs'
import { cpus, getPriority, release, totalmem } from 'node:os'
import { median, quantile, type Series } from './measure.ts'

export function machine(): string {
  const groups = readFileSync('/proc/self/mountinfo', 'utf8')
  const layout = /- cgroup /.test(groups) ? (/- cgroup2 /.test(groups) ? 'hybrid' : 'v1') : 'v2'
  const load = readFileSync('/proc/loadavg', 'utf8').split(' ').slice(0, 3).join(' ')
  return [
    `- ${cpus().length} × ${cpus()[0]?.model ?? 'CPU'}, ${Math.round(totalmem() / 2 ** 30)} GiB of memory`,
    `- Linux ${release()}, cgroups ${layout}, Node ${process.version}`,
    `- load before: ${load}${getPriority() === 0 ? '' : `; all of it at nice ${getPriority()}`}`,
  ].join('\n')
}

const number = (value: number) => (!Number.isFinite(value) ? '–' : value < 10 ? value.toFixed(2) : value.toFixed(1))

/** Medians, tails and the ratio to the first of the series. */
export function table(title: string, series: readonly Series[]): string {
  const base = median(series[0]?.times ?? [])
  const least = series[0]?.times[0] ?? Number.NaN
  const rows = series.map(({ name, times, failure }) => {
    if (failure !== undefined) return `| ${name} | – | – | – | – | – | ${failure.replaceAll('|', '\\|')} |`
    const [p50, p90, min] = [quantile(times, 0.5), quantile(times, 0.9), times[0] ?? Number.NaN]
    return `| ${name} | ${number(p50)} | ${number(min)} | ${number(p90)} | ${number(p50 / base)} | ${number(min / least)} | n = ${times.length} |`
  })
  const head = '| | p50 ms | min | p90 | p50 × first | min × first | |\n|---|--:|--:|--:|--:|--:|---|'
  return [`## ${title}`, '', head, ...rows].join('\n')
}

/** Bars of medians, longest last. */
export function chart(title: string, series: readonly Series[]): string {
  const bars = series.filter(({ times }) => times.length > 0).map(({ name, times }) => ({ name, value: median(times) }))
  const most = Math.max(...bars.map(({ value }) => value))
  const height = 40 + bars.length * 28
  const lines = bars.map(({ name, value }, i) => {
    const y = 36 + i * 28
    const width = Math.max(1, (value / most) * 420)
    const colour = name.startsWith('caisson') ? '#1f6feb' : '#9aa4af'
    return `<text x="150" y="${y + 15}" text-anchor="end">${name}</text><rect x="160" y="${y}" width="${width.toFixed(1)}" height="20" fill="${colour}"/><text x="${(168 + width).toFixed(1)}" y="${y + 15}">${number(value)} ms</text>`
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" width="680" height="${height}" font-family="sans-serif" font-size="13"><title>${title}</title><rect width="100%" height="100%" fill="#fff"/><text x="10" y="20" font-weight="bold">${title}</text>${lines.join('')}</svg>\n`
}
