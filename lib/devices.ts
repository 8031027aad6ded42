/**
 * Devices of a running container: the host's node, bound inside, and the cgroup rule that lets it be opened. What was added is kept in the
 * run directory, so that whoever removes it later knows the rules.
 */
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Running } from './attach.ts'
import { deviceRule } from './config/device_rule.ts'
import { ContainerError } from './errors.ts'
import { changeInside } from './mounts.ts'
import type { DeviceRule, MountSpec } from './native/spec.ts'
import { writeControl } from './resources.ts'
import { printRule } from './spec/devices.ts'
import type { Place } from './store.ts'

interface Added {
  readonly target: string
  readonly rule: DeviceRule
}

/** Shows the host's device `source` as `target` (default: the same path). Throws ERR_INVALID_OPTION when it is no device. */
export async function addDevice(place: Place, running: Running, source: string, target = source): Promise<void> {
  const rule = ruleFor(source)
  const added = [...readAdded(place, running.pid).filter(one => one.target !== target), { target, rule }]
  // v1 learns each rule at once; the program of v2 is made anew from all of them.
  if (onV1(running))
    await writeControl({ name: place.name, cgroup: running.spec.cgroup }, 'devices.allow', printRule(rule))
  const mount: MountSpec = { ...NODE, source, target: target.replace(/^\/+/, '') }
  await changeInside(place.name, 'add a device to', running, { mounts: [mount], ...program(running, added) })
  writeAdded(place, running.pid, added)
}

/** Takes an added device away: the node, and then the right to open it. Throws ERR_INVALID_OPTION for one that was not added. */
export async function removeDevice(place: Place, running: Running, target: string): Promise<void> {
  const all = readAdded(place, running.pid)
  const shown = all.filter(one => one.target !== '')
  const found = all.find(one => one.target === target)
  if (found === undefined) {
    throw new ContainerError(
      'ERR_INVALID_OPTION',
      `Cannot remove ${target} from container "${place.name}": it was not added`,
      {
        container: place.name,
        hint: shown.length === 0 ? 'no device was' : `those were: ${shown.map(one => one.target).join(', ')}`,
      },
    )
  }
  const left = all.filter(one => one !== found)
  const inside = target.replace(/^\/+/, '')
  const { spec } = running
  await changeInside(place.name, 'remove a device from', running, {
    unmounts: [inside],
    removals: [inside],
    ...program(running, left),
  })
  const others = [...spec.cgroup.devices, ...left.map(one => one.rule)]
  if (onV1(running) && !others.some(rule => printRule(rule) === printRule(found.rule))) {
    await writeControl({ name: place.name, cgroup: spec.cgroup }, 'devices.deny', printRule(found.rule))
  }
  writeAdded(place, running.pid, left)
}

/**
 * Adds a rule to those in force, as a write to devices.allow or devices.deny of v1 does: the last rule that matches a device decides. Throws
 * ERR_CONFIG_VALUE for what is no rule, ERR_NO_CGROUP where nothing holds rules.
 */
export async function changeRule(place: Place, running: Running, list: 'allow' | 'deny', text: string): Promise<void> {
  const { type, ...numbers } = deviceRule.parse(text)
  const rule: DeviceRule = { allow: list === 'allow', type: type.charCodeAt(0), ...numbers }
  if (onV1(running)) {
    const value = type === 'a' ? 'a' : text
    return writeControl({ name: place.name, cgroup: running.spec.cgroup }, `devices.${list}`, value)
  }
  if (process.geteuid?.() !== 0 || !running.spec.cgroup.hierarchies.some(({ version }) => version === 2)) {
    throw new ContainerError('ERR_NO_CGROUP', `Cannot change the devices of container "${place.name}": no rules hold`, {
      container: place.name,
      hint: 'device rules take root, and a cgroup hierarchy: v2, or devices of v1',
    })
  }
  const added = [...readAdded(place, running.pid), { target: '', rule }]
  await changeInside(place.name, 'change the devices of', running, program(running, added, [EVERYTHING]))
  writeAdded(place, running.pid, added)
}

/** What no rules mean. */
const EVERYTHING: DeviceRule = { allow: true, type: 'a'.charCodeAt(0), major: -1, minor: -1, access: 'rwm' }

const NODE: Omit<MountSpec, 'source' | 'target'> = {
  type: '',
  recursive: false,
  relative: false,
  attributes: 0xa, // MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC
  cleared: 0,
  options: [],
  propagation: 'private',
  create: 'file',
  optional: false,
  idmap: 'none',
  userNamespace: -1,
}

function ruleFor(source: string): DeviceRule {
  const info = statSync(source, { throwIfNoEntry: false })
  if (info?.isBlockDevice() || info?.isCharacterDevice()) {
    // linux/kdev_t.h, as glibc spreads it over 64 bits
    const major = ((info.rdev >>> 8) & 0xfff) | 0
    const minor = (info.rdev & 0xff) | ((info.rdev >>> 12) & 0xfff00)
    return { allow: true, type: (info.isBlockDevice() ? 'b' : 'c').charCodeAt(0), major, minor, access: 'rw' }
  }
  throw new ContainerError(
    'ERR_INVALID_OPTION',
    `Cannot add ${source}: ${info === undefined ? 'it does not exist' : 'it is not a device'}`,
    {
      path: source,
    },
  )
}

/** Of a user without rights no rules are held. */
const onV1 = ({ spec }: Running): boolean =>
  process.geteuid?.() === 0 && spec.cgroup.hierarchies.some(({ controllers }) => controllers.includes('devices'))

function program({ spec }: Running, added: readonly Added[], otherwise: readonly DeviceRule[] = []) {
  const { cgroup } = spec
  // Everything is allowed, and stays so until a rule of its own says otherwise.
  const base =
    cgroup.devices.length > 0 ? cgroup.devices : added.some(one => one.target === '') ? [EVERYTHING] : otherwise
  if (base.length === 0) return {}
  return { cgroup: { ...cgroup, files: [], devices: [...base, ...added.map(one => one.rule)] } }
}

const fileOf = (place: Place): string => path.join(place.runDir, 'devices.json')

/** What was added to a run is nothing to the next one: the file says whose it is. */
function readAdded(place: Place, init: number): readonly Added[] {
  try {
    const kept = JSON.parse(readFileSync(fileOf(place), 'utf8')) as { init: number; added: readonly Added[] }
    return kept.init === init ? kept.added : []
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

function writeAdded(place: Place, init: number, added: readonly Added[]): void {
  writeFileSync(fileOf(place), JSON.stringify({ init, added }), { mode: 0o600 })
}
