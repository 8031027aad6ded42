// The host's cgroups as other hosts would show them: v1, hybrid, v2, inside a container engine, under systemd, as a user.
import t from 'tap'
import { parseCpuList, printCpuList } from '../../lib/config/cpu_list.ts'
import {
  type CgroupFiles,
  cureFor,
  diagnoseCgroups,
  directoryOf,
  hierarchyWith,
  parseKnown,
  parseMembership,
  parseMounts,
  pathBelow,
  readCgroups,
} from '../../lib/host/cgroups.ts'

/** A host of texts: files that exist, and what of it the user may write ('*': all). */
function host(texts: Record<string, string>, writable: readonly string[] | '*', root = writable === '*'): CgroupFiles {
  return {
    root,
    read: path => texts[path],
    exists: path => path in texts,
    writable: path => writable === '*' || writable.includes(path),
  }
}

const v1Mount = (id: number, name: string, root = '/') =>
  `${id} 31 0:${id} ${root} /sys/fs/cgroup/${name} rw,relatime shared:9 - cgroup cgroup rw,${name === 'systemd' ? 'xattr,name=systemd' : name}`
const v2Mount = (at: string, root = '/') =>
  `41 31 0:38 ${root} ${at} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot`
const procs = (...directories: string[]) => Object.fromEntries(directories.map(d => [`${d}/cgroup.procs`, '']))

const KNOWN =
  '#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t3\t1\t1\ncpu\t1\t1\t1\nmemory\t4\t16\t1\nrdma\t0\t1\t0\npids\t8\t1\t1\n'

const HYBRID = {
  '/proc/self/mountinfo': [
    '31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755',
    v1Mount(33, 'cpu,cpuacct'),
    v1Mount(34, 'memory'),
    v1Mount(35, 'systemd'),
    v2Mount('/sys/fs/cgroup/unified'),
  ].join('\n'),
  '/proc/self/cgroup': '9:name=systemd:/\n4:memory:/service/a\n1:cpu,cpuacct:/\n0::/\n',
  '/proc/cgroups': KNOWN,
  ...procs('/sys/fs/cgroup/cpu,cpuacct', '/sys/fs/cgroup/memory', '/sys/fs/cgroup/systemd', '/sys/fs/cgroup/unified'),
  '/sys/fs/cgroup/unified/cgroup.controllers': 'hugetlb\n',
  '/sys/fs/cgroup/unified/cgroup.procs': '1\n2\n',
}

t.test('the kernel texts', async t => {
  t.strictSame(parseMounts(`36 25 0:31 / /a\\040b rw - cgroup2 none rw\n30 25 0:30 / /proc rw - proc proc rw`), [
    { version: 2, root: '/', mount: '/a b', controllers: [] },
  ])
  t.strictSame(
    parseMounts(`${v2Mount('/inner', '/docker/x')}\n${v2Mount('/whole')}`).map(({ mount }) => mount),
    ['/whole'],
    'of several mounts the one that shows most',
  )
  t.strictSame(parseMounts(v1Mount(3, 'systemd'))[0]?.controllers, ['name=systemd'])
  t.strictSame(
    [...parseMembership('3:cpu,cpuacct:/a:b\n1:name=systemd:/\n0::/c\n')],
    [
      ['cpu', '/a:b'],
      ['cpuacct', '/a:b'],
      ['name=systemd', '/'],
      ['', '/c'],
    ],
  )
  t.strictSame(parseKnown(KNOWN), ['cpuset', 'cpu', 'memory', 'pids'])
  t.equal(pathBelow('/', '/a/b'), 'a/b')
  t.equal(pathBelow('/a', '/a'), '')
  t.equal(pathBelow('/a', '/ab'), undefined)
  t.equal(pathBelow('/', '/../x'), undefined, 'outside the cgroup namespace')
})

t.test('root on a hybrid host', async t => {
  const seen = readCgroups(host(HYBRID, '*'))
  t.equal(seen.layout, 'hybrid')
  t.strictSame(
    seen.hierarchies.map(({ version, own, base, relative }) => [version, own, base?.path, relative?.path]),
    [
      [1, '', '', ''],
      [1, 'service/a', '', 'service/a'],
      [1, '', '', ''],
      [2, '', '', ''],
    ],
  )
  t.equal(hierarchyWith(seen, 'memory')?.version, 1)
  t.equal(hierarchyWith(seen, 'hugetlb')?.version, 2)
  t.equal(hierarchyWith(seen, 'io'), undefined)
  t.notOk(seen.hierarchies[3]?.base?.crowded, "the kernel's own root may hold processes")
})

t.test('what changes is seen the next time', async t => {
  const texts: Record<string, string> = { ...HYBRID }
  const files = host(texts, '*')
  const own = () => readCgroups(files).hierarchies.map(hierarchy => hierarchy.own)
  t.strictSame(own(), ['', 'service/a', '', ''])
  const moved = HYBRID['/proc/self/cgroup'].replace('/service/a', '/elsewhere')
  t.not(moved, texts['/proc/self/cgroup'])
  texts['/proc/self/cgroup'] = moved
  t.strictSame(own(), ['', 'elsewhere', '', ''], 'this process has moved')
  texts['/proc/self/mountinfo'] = HYBRID['/proc/self/mountinfo'].replace(/\n.*cgroup2.*/, '')
  t.equal(readCgroups(files).layout, 'v1', 'a hierarchy has been unmounted')
  const user = host(HYBRID, [])
  t.ok(readCgroups(user).hierarchies.every(({ base }) => base === undefined))
  const given = host(HYBRID, ['/sys/fs/cgroup/memory/service/a', '/sys/fs/cgroup/memory/service/a/tasks'])
  Object.assign(user, { writable: given.writable })
  t.ok(
    readCgroups(user).hierarchies.some(({ base }) => base !== undefined),
    'root has given a user a cgroup',
  )
})

t.test('pure v1, and a hierarchy that is hidden', async t => {
  const texts = { ...HYBRID, '/proc/self/mountinfo': HYBRID['/proc/self/mountinfo'].replace(/\n.*cgroup2.*/, '') }
  t.equal(readCgroups(host(texts, '*')).layout, 'v1')
  const hidden = Object.fromEntries(
    Object.entries(texts).filter(([path]) => path !== '/sys/fs/cgroup/memory/cgroup.procs'),
  )
  t.equal(hierarchyWith(readCgroups(host(hidden, '*')), 'memory'), undefined, 'what another mount covers is not there')
  t.equal(readCgroups(host({}, '*')).layout, 'none')
})

const SCOPE = '/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope'
const SERVICE = '/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service'
const V2 = {
  '/proc/self/mountinfo': v2Mount('/sys/fs/cgroup'),
  '/proc/self/cgroup': `0::${SCOPE.slice('/sys/fs/cgroup'.length)}\n`,
  '/proc/cgroups': '#subsys_name\thierarchy\tnum_cgroups\tenabled\n',
  ...procs('/sys/fs/cgroup', SERVICE, SCOPE),
  '/sys/fs/cgroup/cgroup.controllers': 'cpuset cpu io memory pids\n',
  [`${SERVICE}/cgroup.controllers`]: 'memory pids\n',
  [`${SERVICE}/cgroup.subtree_control`]: 'memory pids\n',
  [`${SERVICE}/cgroup.type`]: 'domain\n',
  [`${SCOPE}/cgroup.controllers`]: 'memory pids\n',
  [`${SCOPE}/cgroup.subtree_control`]: '\n',
  [`${SCOPE}/cgroup.type`]: 'domain\n',
  [`${SCOPE}/cgroup.procs`]: '4711\n',
}
const delegated = (...directories: string[]) => directories.flatMap(d => [d, `${d}/cgroup.procs`])

t.test('a user below a delegated systemd service', async t => {
  const app = `${SERVICE}/app.slice`
  const seen = readCgroups(host(V2, delegated(SERVICE, app, SCOPE)))
  const [unified] = seen.hierarchies
  t.equal(seen.layout, 'v2')
  t.equal(unified?.base?.path, SERVICE.slice('/sys/fs/cgroup/'.length), 'the highest that is delegated')
  t.strictSame(unified?.base?.controllers, ['memory', 'pids'])
  t.match(unified?.relative, { crowded: true, controllers: [] }, 'its own cgroup holds it, and so can enable nothing')
  t.equal(hierarchyWith(seen, 'cpu'), undefined)
  t.match(cureFor(seen, 'cpu', false), /systemd-run --user --scope/)
  t.match(cureFor(seen, 'misc', false), /another kernel/)
})

t.test('a user with nothing', async t => {
  const seen = readCgroups(host(V2, []))
  t.equal(seen.hierarchies[0]?.base, undefined)
  const findings = diagnoseCgroups(seen, false)
  t.match(findings[0], { feature: 'cgroup', ok: false, required: false, hint: /Delegate=yes/ })
  t.ok(
    findings.every(({ ok, hint }) => ok || (hint ?? '') !== ''),
    'whatever is missing has a cure',
  )
  t.match(
    diagnoseCgroups(readCgroups(host(HYBRID, '*')), true).find(({ feature }) => feature === 'cgroup.memory'),
    {
      ok: true,
      detail: 'v1, /sys/fs/cgroup/memory',
    },
  )
})

t.test('in a container engine', async t => {
  const crowded = {
    '/proc/self/mountinfo': v2Mount('/sys/fs/cgroup'),
    '/proc/self/cgroup': '0::/\n',
    '/sys/fs/cgroup/cgroup.procs': '1\n',
    '/sys/fs/cgroup/cgroup.type': 'domain\n',
    '/sys/fs/cgroup/cgroup.controllers': 'cpu memory pids\n',
    '/sys/fs/cgroup/cgroup.subtree_control': '',
  }
  const inside = readCgroups(host(crowded, '*'))
  t.match(
    inside.hierarchies[0]?.base,
    { path: '', crowded: true, controllers: [] },
    'root of a namespace, full of processes',
  )
  t.match(cureFor(inside, 'memory', true), /move them to a directory below/)
  const readOnly = readCgroups(host({ ...crowded, '/sys/fs/cgroup/cgroup.procs': '' }, [], true))
  t.equal(readOnly.hierarchies[0]?.base, undefined, 'root, but mounted read-only')
  t.match(cureFor(readOnly, 'memory', true), /remount,rw/)
  const bound = {
    '/proc/self/mountinfo': v1Mount(34, 'memory', '/docker/abc'),
    '/proc/self/cgroup': '4:memory:/docker/abc/x\n',
    ...procs('/sys/fs/cgroup/memory'),
  }
  t.equal(readCgroups(host(bound, '*')).hierarchies[0]?.own, 'x', 'a mount that shows a part of the hierarchy')
})

t.test('this host', async t => {
  const seen = readCgroups()
  t.ok(['none', 'v1', 'hybrid', 'v2'].includes(seen.layout))
  t.ok(
    seen.hierarchies.every(
      ({ mount, controllers, version }) => mount.startsWith('/') && (version === 2 || controllers.length > 0),
    ),
  )
})

t.test('small things', async t => {
  t.equal(directoryOf('/m', '', 'a/b', ''), '/m/a/b')
  t.strictSame(parseCpuList('7,0-2,1'), [0, 1, 2, 7])
  for (const wrong of ['', 'a', '2-1', '1,', '-1']) t.equal(parseCpuList(wrong), undefined)
  t.equal(printCpuList([0, 1, 2, 7, 9, 10]), '0-2,7,9-10')
})
