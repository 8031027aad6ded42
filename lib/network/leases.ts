/**
 * Who has which address of a network: a directory with one symbolic link for each, whose name is the address and whose
 * text is the owner. Making one is atomic and refuses an address that is taken, so that handing out needs no lock; the
 * record is whole or not there.
 */
import { existsSync } from 'node:fs'
import { mkdir, readdir, readlink, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { ContainerError } from '../errors.ts'
import { type Address, formatAddress, hostRange, networkOf, parseAddress, type Subnet } from './address.ts'
import type { Owner } from './names.ts'

export interface Lease extends Owner {
  readonly address: string
  readonly mac: string
  /** Another name of it. */
  readonly hostname?: string
}

/** Who asks for an address: its MAC, and the host name inside where that is not the container's name. */
export interface Asker extends Owner {
  readonly mac: string
  readonly hostname?: string | undefined
}

/** Where the addresses of one family come from. */
export interface Pool {
  readonly subnet: Subnet
  readonly first: bigint
  readonly last: bigint
  /** Never handed out: the host's own. */
  readonly reserved: readonly bigint[]
}

/** The addresses of a network: those of a range, or of all the subnet; `subnet` is the bridge's address in it. */
export function poolOf(subnet: Subnet, range: readonly [first: string, last: string] | undefined): Pool {
  const { first, last } = hostRange(subnet)
  return {
    subnet: networkOf(subnet),
    first: range === undefined ? first : parseAddress(range[0]).value,
    last: range === undefined ? last : parseAddress(range[1]).value,
    reserved: [subnet.value],
  }
}

/** So many addresses are tried at most: a /64 holds more than any program can look through. */
const MOST = 65_536n

/** A word that may stand in hosts(5). */
const HOSTNAME = /^[A-Za-z0-9][A-Za-z0-9.-]*$/

/** The owner as the text of a link; the path comes last since it may hold anything. */
function write({ container, index, mac, hostname = '', lxcpath }: Asker): string {
  const other = hostname !== container && HOSTNAME.test(hostname) ? hostname : ''
  return `${container}|${index}|${mac}|${other}|${lxcpath}`
}

function read(address: string, text: string): Lease {
  const [container = '', index = '', mac = '', hostname = '', ...path] = text.split('|')
  const lease = { address, container, index: Number(index), mac, lxcpath: path.join('|') }
  return hostname === '' ? lease : { ...lease, hostname }
}

const isOf = (lease: Lease, owner: Owner): boolean =>
  lease.container === owner.container && lease.index === owner.index && lease.lxcpath === owner.lxcpath

/** All leases of a directory, those that go meanwhile left out. */
export async function readLeases(directory: string): Promise<Lease[]> {
  const names = await readdir(directory).catch(absent([]))
  const leases = await Promise.all(names.map(async name => readlink(join(directory, name)).catch(absent(''))))
  return names.map((name, i) => read(name, leases[i] ?? '')).filter(({ container }) => container !== '')
}

/** ENOENT is no failure of whoever looks. */
function absent<T>(otherwise: T): (error: NodeJS.ErrnoException) => T {
  return error => {
    if (error.code === 'ENOENT') return otherwise
    throw error
  }
}

/** The owner's address of that pool: the one it has, or the lowest free one; undefined when all are taken. */
export async function takeLease(directory: string, pool: Pool, owner: Asker): Promise<Address | undefined> {
  const leases = await readLeases(directory)
  const own = leases.find(lease => isOf(lease, owner) && isIn(pool, parseAddress(lease.address)))
  if (own !== undefined) return parseAddress(own.address)
  const taken = new Set(leases.map(({ address }) => address))
  const last = pool.last < pool.first + MOST ? pool.last : pool.first + MOST
  for (let value = pool.first; value <= last; value++) {
    const address = { family: pool.subnet.family, value }
    if (pool.reserved.includes(value) || taken.has(formatAddress(address))) continue
    if (await takeAddress(directory, address, owner)) return address
  }
  return undefined
}

const isIn = ({ subnet, first, last }: Pool, { family, value }: Address): boolean =>
  family === subnet.family && value >= first && value <= last

/** Takes one address; false when another owner has it. */
export async function takeAddress(directory: string, address: Address, owner: Asker): Promise<boolean> {
  await mkdir(directory, { recursive: true })
  const file = join(directory, formatAddress(address))
  try {
    await symlink(write(owner), file)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    return isOf(read(formatAddress(address), await readlink(file).catch(absent(''))), owner)
  }
}

/** Gives back what a container has; all its interfaces', or one's. The addresses. */
export async function releaseLeases(
  directory: string,
  owner: Omit<Owner, 'index'> & { index?: number },
): Promise<string[]> {
  const mine = (await readLeases(directory)).filter(lease =>
    isOf(lease, { ...owner, index: owner.index ?? lease.index }),
  )
  await Promise.all(mine.map(({ address }) => rm(join(directory, address), { force: true })))
  return mine.map(({ address }) => address)
}

/**
 * Gives back the addresses of containers whose directory is gone; whether there were any. One caller at a time, lest a fresh record be
 * taken for a lost one.
 */
export async function forgetLost(directory: string): Promise<boolean> {
  const leases = await readLeases(directory)
  const lost = leases.filter(({ lxcpath, container }) => !existsSync(join(lxcpath, container)))
  await Promise.all(lost.map(({ address }) => rm(join(directory, address), { force: true })))
  return lost.length > 0
}

export function exhausted({ subnet, first, last }: Pool): ContainerError {
  const range = [first, last].map(value => formatAddress({ family: subnet.family, value })).join('–')
  return new ContainerError('ERR_NETWORK', `Cannot give out an address: all of ${range} are taken`, {
    hint: 'destroy containers that are not needed, or make the network with a larger subnet',
  })
}
