import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { makeManifest, objectsOf } from '../../protocol/manifest.ts'
import { Artifacts } from './artifacts.ts'
import { ObjectStore } from './object-store.ts'
import { scanDirectory, type ScanOptions } from './scan.ts'

const signal = AbortSignal.timeout(300_000)
const digestOf = (content: string | Uint8Array) => createHash('sha256').update(content).digest('hex')

/** A directory to scan and a place for what comes of it. */
function workplace(context: TestContext, selection: Partial<ScanOptions> = {}) {
  const top = mkdtempSync(join(tmpdir(), 'dploy-scan-'))
  context.after(() => rmSync(top, { recursive: true, force: true }))
  const directory = join(top, 'directory')
  mkdirSync(directory)
  const options: ScanOptions = {
    directory,
    ship: undefined,
    leaveOut: [],
    store: join(top, 'objects'),
    cache: join(top, 'cache.json'),
    ...selection,
  }
  const write = (path: string, content: string | Uint8Array = path) => {
    mkdirSync(join(directory, path, '..'), { recursive: true })
    writeFileSync(join(directory, path), content)
  }
  // As if all that was written were older than what a file system's times can tell apart.
  const later = () => Date.now() + 10_000
  return {
    top,
    directory,
    options,
    write,
    later,
    scan: () => scanDirectory(options, later),
    paths: () =>
      scanDirectory(options, later)
        .entries.map(({ path }) => path)
        .sort(),
  }
}

test('files, bits, links, empty files and empty directories are found, whatever their names', (context) => {
  const { directory, write, scan, options } = workplace(context)
  const names = [
    'a\nb',
    `quote's "double"`,
    'back\\slash',
    ' ',
    '-rf',
    '*',
    '日本語',
    'ü',
    'u\u0308',
    '\u{1f680}',
    'x'.repeat(255),
    'ü'.repeat(127),
    '\x01',
    '...',
    '.hidden',
    '.gitignore',
    'sub/.dploy',
  ]
  for (const name of names) write(name)
  write('empty', '')
  write('run', '#!')
  chmodSync(join(directory, 'run'), 0o755)
  mkdirSync(join(directory, 'folder/empty'), { recursive: true })
  symlinkSync('../run', join(directory, 'folder/link'))
  symlinkSync(join(directory, 'run'), join(directory, 'folder/absolute'))
  symlinkSync(directory, join(directory, 'folder/top'))
  symlinkSync('nowhere', join(directory, 'dangling'))
  symlinkSync('folder', join(directory, 'to-folder'))
  write('.git/config')
  write('.dploy/control.db')
  const { entries } = scan()
  const manifest = makeManifest(entries)
  assert.deepEqual(
    manifest.entries.filter(({ kind }) => kind !== 'file'),
    [
      { kind: 'link', path: 'dangling', target: 'nowhere' },
      { kind: 'link', path: 'folder/absolute', target: '../run' },
      { kind: 'directory', path: 'folder/empty' },
      { kind: 'link', path: 'folder/link', target: '../run' },
      { kind: 'link', path: 'folder/top', target: '..' },
      { kind: 'link', path: 'to-folder', target: 'folder' },
    ],
  )
  assert.deepEqual(
    manifest.entries.filter(({ kind }) => kind === 'file').map(({ path }) => path),
    [...names, 'empty', 'run'].sort(),
  )
  const store = new ObjectStore(options.store)
  for (const entry of manifest.entries) {
    if (entry.kind !== 'file') continue
    assert.equal(entry.executable, entry.path === 'run')
    assert.equal(entry.digest, digestOf(readFileSync(join(directory, entry.path))))
    assert.ok(store.has(entry.digest, entry.size))
  }
})

test('the manifest does not depend on the place, the times, or the order in which files were made', (context) => {
  const [one, other] = [workplace(context), workplace(context)]
  const files = ['b', 'a/c', 'a-b', 'a.b', 'A', 'ä', 'z/y/x']
  for (const path of files) one.write(path)
  for (const path of files.toReversed()) other.write(path)
  utimesSync(join(other.directory, 'b'), 1, 1)
  assert.equal(makeManifest(one.scan().entries).digest, makeManifest(other.scan().entries).digest)
})

for (const [name, make] of Object.entries({
  'an absolute link out of it': (directory: string) => symlinkSync('/etc/passwd', join(directory, 'bad')),
  'a relative link out of it': (directory: string) => symlinkSync('../../outside', join(directory, 'bad')),
  'a link to a neighbour whose name begins with its own': (directory: string) =>
    symlinkSync(`${join(directory, '..')}-other/x`, join(directory, 'bad')),
  'a link that is not UTF-8': (directory: string) => symlinkSync(Buffer.of(0xff), join(directory, 'bad')),
  'a pipe': (directory: string) => execFileSync('mkfifo', [join(directory, 'bad')]),
  'a name that is not UTF-8': (directory: string) =>
    writeFileSync(Buffer.concat([Buffer.from(`${directory}/`), Buffer.of(0xff)]), ''),
})) {
  test(`${name} is refused by name, unless it is left out`, (context) => {
    const { directory, write, options, scan, paths } = workplace(context)
    write('folder/good')
    make(join(directory, 'folder'))
    assert.throws(() => makeManifest(scan().entries), { code: 'source.unsafe' })
    assert.ok(existsSync(join(directory, 'folder/good')))
    options.leaveOut = ['folder']
    write('other')
    assert.deepEqual(paths(), ['other'])
    options.leaveOut = []
    options.ship = ['other']
    assert.deepEqual(paths(), ['other'])
  })
}

test('a socket is refused by name', async (context) => {
  const { directory, options, scan, paths, write } = workplace(context)
  write('good')
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(join(directory, 'app.sock'), resolve))
  context.after(() => server.close())
  assert.throws(scan, {
    code: 'source.unsafe',
    where: 'app.sock',
    message: '"app.sock" is no file, folder or link (a socket, pipe or device)',
  })
  options.leaveOut = ['*.sock']
  assert.deepEqual(paths(), ['good'])
})

test('a device is refused by name, and not read', (context) => {
  const { directory, scan } = workplace(context)
  try {
    execFileSync('mknod', [join(directory, 'endless'), 'c', '1', '5'], { stdio: 'pipe' })
  } catch {
    return context.skip('making a device file is not allowed here')
  }
  assert.throws(scan, { code: 'source.unsafe', where: 'endless' })
})

test('what cannot be read is named', (context) => {
  const { directory, options, scan } = workplace(context)
  rmSync(directory, { recursive: true })
  assert.throws(scan, { code: 'source.unreachable', where: directory, message: /cannot be read: ENOENT/ })
  writeFileSync(directory, 'a file')
  assert.throws(scan, { code: 'source.unreachable', message: /ENOTDIR/ })
  assert.ok(!existsSync(options.store))
})

test('a file and a folder that the user may not read are named', (context) => {
  const { top, directory, write } = workplace(context)
  if (process.getuid?.() !== 0) return context.skip('only root can become a user without rights')
  chmodSync(top, 0o777)
  // The source is loaded by root: the checkout may lie where that user may not enter.
  const program = `const { scanDirectory } = await import(${JSON.stringify(new URL('scan.ts', import.meta.url).href)}); process.setgid(65534); process.setuid(65534); try { scanDirectory({ directory: ${JSON.stringify(directory)}, ship: undefined, leaveOut: [], store: ${JSON.stringify(join(top, 'store'))}, cache: null }) } catch (error) { console.log(JSON.stringify(error)) }`
  const report = () =>
    JSON.parse(execFileSync(process.execPath, ['--input-type=module', '--eval', program], { encoding: 'utf8' })) as {
      code: string
      message: string
      where: string
    }
  write('secret')
  chmodSync(join(directory, 'secret'), 0o600)
  assert.deepEqual([report().code, report().where], ['source.unsafe', 'secret'])
  chmodSync(join(directory, 'secret'), 0o644)
  mkdirSync(join(directory, 'closed'), { mode: 0o700 })
  assert.deepEqual([report().code, report().where], ['source.unsafe', 'closed'])
  assert.match(report().message, /EACCES/)
})

test('an unchanged file is not read again; a changed, touched or replaced one is', (context) => {
  const { directory, write, scan, options } = workplace(context)
  for (let index = 0; index < 1_000; index++) write(`f${index}`)
  assert.equal(scan().read, 1_000)
  assert.equal(scan().read, 0)
  write('f7', 'changed')
  assert.equal(scan().read, 1)
  utimesSync(join(directory, 'f8'), 1, 1)
  assert.equal(scan().read, 1)
  write('new')
  renameSync(join(directory, 'new'), join(directory, 'f9'))
  assert.equal(scan().read, 1)
  rmSync(join(directory, 'f10'))
  chmodSync(join(directory, 'f11'), 0o755)
  const { entries, read } = scan()
  assert.deepEqual([entries.length, read], [999, 1])
  rmSync(new ObjectStore(options.store).path(digestOf('f12')))
  assert.equal(scan().read, 1, 'an object that is gone is read again')
  for (const nonsense of ['', '{', '[]', 'null', '{"f1":1}', '{"f1":["x","../../x"]}']) {
    writeFileSync(options.cache!, nonsense)
    assert.ok(scan().entries.length === 999, nonsense)
  }
})

test('a changed file of equal size is noticed, even when it changes right after it was read and its time is set back', (context) => {
  const { directory, options, write } = workplace(context)
  write('a', 'state 000')
  for (let round = 1; round < 200; round++) {
    const { atime, mtime } = statSync(join(directory, 'a'))
    const content = `state ${String(round).padStart(3, '0')}`
    writeFileSync(join(directory, 'a'), content)
    utimesSync(join(directory, 'a'), atime, mtime)
    const [entry] = scanDirectory(options).entries
    assert.ok(entry?.kind === 'file' && entry.digest === digestOf(content), `round ${round}`)
  }
})

test('while a directory changes, each file is taken as it was at one moment, or refused by name', async (context) => {
  const { directory, options, write } = workplace(context)
  for (let index = 0; index < 300; index++) write(`stable-${index}`)
  write('grows', 'x'.repeat(2_000_000))
  const writer = spawn(
    process.execPath,
    [
      '--eval',
      `
    const { appendFileSync, mkdirSync, rmSync, writeFileSync, symlinkSync } = require('node:fs')
    process.chdir(process.argv[1])
    for (let n = 0; ; n++) {
      for (let i = 0; i < 20; i++) appendFileSync('grows', 'more ' + n)
      mkdirSync('come/and/go', { recursive: true })
      writeFileSync('come/and/go/file', String(n))
      rmSync('come', { recursive: true })
      rmSync('kind', { force: true, recursive: true })
      if (n % 3 === 0) symlinkSync('/etc/hostname', 'kind'); else if (n % 3 === 1) writeFileSync('kind', 'mine'); else mkdirSync('kind')
      if (n === 5) console.log('going')
    }`,
      directory,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const ended = new Promise((resolve) => writer.once('exit', resolve))
  try {
    await new Promise((resolve) => writer.stdout.once('data', resolve))
    const store = new ObjectStore(options.store)
    let taken = 0
    let refused = 0
    for (let round = 0; round < 40; round++) {
      try {
        const { entries } = scanDirectory(options)
        taken++
        for (const entry of entries) {
          if (entry.kind !== 'file') continue
          const content = readFileSync(store.path(entry.digest))
          assert.equal(content.length, entry.size, entry.path)
          assert.equal(digestOf(content), entry.digest)
          assert.notEqual(content.toString(), readFileSync('/etc/hostname', 'utf8'), 'nothing outside is read')
        }
        assert.equal(entries.filter(({ path }) => path.startsWith('stable-')).length, 300)
      } catch (error) {
        if ((error as Error).name === 'AssertionError') throw error
        refused++
        assert.equal((error as { code?: string }).code, 'source.unsafe', (error as Error).message)
        assert.match(String((error as { where?: string }).where), /^(?:grows|kind|come\b.*)$/)
      }
      await sleep(0)
    }
    assert.equal(taken + refused, 40)
    assert.deepEqual(readdirSync(join(options.store, 'new')), [])
  } finally {
    writer.kill('SIGKILL')
    await ended
  }
})

test('two scans of one directory at the same time both work', async (context) => {
  const { top, directory, write } = workplace(context)
  for (let index = 0; index < 200; index++) write(`f${index}`)
  using artifacts = new Artifacts(join(top, 'data'))
  const all = await Promise.all(
    Array.from({ length: 4 }, () => artifacts.fromDirectory(directory, { ship: undefined, leave_out: [] }, signal)),
  )
  assert.equal(new Set(all.map(({ artifact }) => artifact)).size, 1)
  assert.ok(await artifacts.has(all[0]!.artifact))
  for (const deadline = Date.now() + 10_000; ; await sleep(100)) {
    const { read } = await artifacts.fromDirectory(directory, { ship: undefined, leave_out: [] }, signal)
    if (read === 0) break
    assert.ok(Date.now() < deadline, 'in the end nothing is read again')
  }
  assert.deepEqual(readdirSync(join(top, 'data/artifacts')).length, 1)
})

test('errors of a scan come with their code, and an empty directory has nothing to ship', async (context) => {
  const { top, directory } = workplace(context)
  using artifacts = new Artifacts(join(top, 'data'))
  const all = { ship: undefined, leave_out: [] }
  await assert.rejects(artifacts.fromDirectory(join(top, 'missing'), all, signal), {
    code: 'source.unreachable',
    where: join(top, 'missing'),
  })
  await assert.rejects(artifacts.fromDirectory(directory, all, signal), { code: 'build.nothing_to_ship' })
  symlinkSync('/etc', join(directory, 'etc'))
  await assert.rejects(artifacts.fromDirectory(directory, all, signal), { code: 'source.unsafe', where: 'etc' })
  await assert.rejects(artifacts.fromDirectory(directory, all, AbortSignal.abort(new Error('cancelled by Anna'))), {
    message: 'cancelled by Anna',
  })
})

test('a cancelled scan stops reading, and what it left is removed by the next process', async (context) => {
  const { top, directory } = workplace(context)
  const path = join(directory, 'large')
  closeSync(openSync(path, 'w'))
  truncateSync(path, 8 * 1024 ** 3)
  using artifacts = new Artifacts(join(top, 'data'))
  const scratch = join(top, 'data/objects/new')
  const abort = new AbortController()
  const scanning = artifacts.fromDirectory(directory, { ship: undefined, leave_out: [] }, abort.signal)
  for (const deadline = Date.now() + 10_000; readdirSync(scratch).length === 0; await sleep(5))
    assert.ok(Date.now() < deadline)
  abort.abort(new Error('cancelled by Anna'))
  await assert.rejects(scanning, { message: 'cancelled by Anna' })
  const left = readdirSync(scratch)
  assert.equal(left.length, 1)
  // A descriptor may be closed while they are looked at.
  const pathOf = (fd: string) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`)
    } catch {
      return null
    }
  }
  const isOpen = () => readdirSync('/proc/self/fd').some((fd) => pathOf(fd) === path)
  for (const deadline = Date.now() + 10_000; isOpen(); await sleep(5))
    assert.ok(Date.now() < deadline, 'the worker has not ended')
  utimesSync(join(scratch, left[0]!), 1, 1)
  new ObjectStore(join(top, 'data/objects'))
  assert.deepEqual(readdirSync(scratch), [])
})

test('many new objects are flushed to disk with the file system', (context) => {
  const { top, write, options } = workplace(context)
  const bin = join(top, 'bin')
  mkdirSync(bin)
  writeFileSync(join(bin, 'sync'), `#!/bin/sh\nprintf '%s\\n' "$@" >> ${top}/synced\n`, { mode: 0o755 })
  const path = process.env.PATH
  process.env.PATH = `${bin}:${path}`
  context.after(() => (process.env.PATH = path))
  for (let index = 0; index < 50; index++) write(`few-${index}`)
  scanDirectory(options)
  assert.ok(!existsSync(join(top, 'synced')), 'few are flushed one by one')
  for (let index = 0; index < 100; index++) write(`many-${index}`)
  scanDirectory(options)
  assert.equal(readFileSync(join(top, 'synced'), 'utf8'), `-f\n${options.store}\n`)
})

test('long runs of zeros anywhere in a file come back as they were', (context) => {
  const { write, options } = workplace(context)
  const mega = 1024 * 1024
  const files: Record<string, Buffer> = {}
  for (const [name, at, length] of [
    ['at the end', 0, 3 * mega],
    ['in the middle', 1.5 * mega, 5 * mega],
    ['at the beginning', 4 * mega - 1, 4 * mega],
    ['all', -1, 2 * mega],
    ['all, and a bit', -1, 2 * mega + 1],
    ['short', -1, 70_000],
  ] as const) {
    files[name] = Buffer.alloc(length)
    if (at >= 0) files[name].write('x', at)
    write(name, files[name])
  }
  const store = new ObjectStore(options.store)
  for (const entry of scanDirectory(options).entries) {
    assert.ok(entry.kind === 'file' && entry.digest === digestOf(files[entry.path]!))
    assert.ok(Buffer.concat([...store.verified(entry.digest)]).equals(files[entry.path]!), entry.path)
  }
})

test('a file of two gigabytes is taken in bounded memory', async (context) => {
  const { top, directory } = workplace(context)
  const size = 2 * 1024 ** 3
  const path = join(directory, 'sparse')
  const file = openSync(path, 'w')
  truncateSync(path, size)
  writeSync(file, 'the end', size - 7)
  closeSync(file)
  using artifacts = new Artifacts(join(top, 'data'))
  let most = 0
  const before = process.memoryUsage().rss
  const timer = setInterval(() => (most = Math.max(most, process.memoryUsage().rss)), 20)
  const began = performance.now()
  try {
    const { artifact } = await artifacts.fromDirectory(directory, { ship: undefined, leave_out: [] }, signal)
    const [[digest, bytes] = []] = [...objectsOf(artifacts.manifests.get(artifact))]
    assert.equal(bytes, size)
    assert.ok(artifacts.store.has(digest!, size))
    assert.ok(statSync(artifacts.store.path(digest!)).blocks * 512 < 64 * 1024 ** 2, 'holes stay holes')
  } finally {
    clearInterval(timer)
  }
  context.diagnostic(
    `${Math.round(performance.now() - began)} ms, ${Math.round((most - before) / 1024 ** 2)} MB more memory`,
  )
  assert.ok(most > 0 && most - before < 200 * 1024 ** 2, `${most - before} bytes more memory`)
})
