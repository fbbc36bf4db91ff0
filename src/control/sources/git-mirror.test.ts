import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { inspect } from 'node:util'
import type { DployError } from '../../protocol/errors.ts'
import { GitMirror } from './git-mirror.ts'
import { TemporaryRepository } from './temporary-repository.ts'

const signal = AbortSignal.timeout(300_000)
const mirrorOf = (repository: TemporaryRepository, url = repository.path) =>
  new GitMirror(join(repository.top, 'mirrors'), url, null)
const unknown = { code: 'source.revision_unknown' }

test('a revision is found by branch, tag, full and short commit, and by HEAD', async () => {
  using repository = new TemporaryRepository()
  const first = repository.commit({ a: '1' }, 'first')
  repository.git(['tag', 'v1'])
  repository.git(['tag', '--annotate', '--message', 'words', 'v1-annotated'])
  repository.git(['branch', 'feature/login'])
  const second = repository.commit({ a: '2' }, 'second: "quoted" ü')
  const mirror = mirrorOf(repository)
  const found = async (name: string | null, branch: string | null = null) =>
    (await mirror.resolve(name, branch, signal)).commit

  assert.equal(await found(null), second)
  assert.equal(await found(null, 'feature/login'), first)
  assert.equal(await found('main'), second)
  assert.equal(await found('feature/login', 'main'), first)
  assert.equal(await found('v1'), first)
  assert.equal(await found('v1-annotated'), first)
  assert.equal(await found(first), first)
  assert.equal(await found(first.slice(0, 7)), first)
  assert.equal(await found(first.slice(0, 12).toUpperCase()), first)

  const revision = await mirror.resolve('main', null, signal)
  assert.deepEqual(
    { ...revision, time: 0 },
    { commit: second, ref: 'main', subject: 'second: "quoted" ü', author: 'Anna', time: 0 },
  )
  assert.ok(Math.abs(revision.time - Date.now()) < 60_000)
})

test('a branch is meant before a tag of the same name, and both before a commit whose id begins so', async () => {
  using repository = new TemporaryRepository()
  const first = repository.commit({ a: '1' })
  const second = repository.commit({ a: '2' })
  const third = repository.commit({ a: '3' })
  repository.git(['branch', 'both', second])
  repository.git(['tag', 'both', first])
  repository.git(['branch', third.slice(0, 8), first])
  const mirror = mirrorOf(repository)
  assert.equal((await mirror.resolve('both', null, signal)).commit, second)
  assert.equal((await mirror.resolve(third.slice(0, 8), null, signal)).commit, first)
})

test('an unknown revision is refused with its name, the repository, and what is near', async () => {
  using repository = new TemporaryRepository()
  repository.commit({ a: '1' })
  repository.git(['branch', 'production'])
  const mirror = mirrorOf(repository)
  await assert.rejects(mirror.resolve('prodcution', null, signal), {
    ...unknown,
    message: `There is no branch, tag or commit "prodcution" in ${repository.path}; did you mean production?`,
    where: repository.path,
  })
  await assert.rejects(mirror.resolve('something-else', null, signal), {
    ...unknown,
    message: `There is no branch, tag or commit "something-else" in ${repository.path}`,
  })
  await assert.rejects(mirror.resolve('deadbeef', null, signal), unknown)
  await assert.rejects(mirror.resolve('0'.repeat(40), null, signal), unknown)
})

test('the beginning of several commit ids is called ambiguous', async () => {
  using repository = new TemporaryRepository()
  const stream = ['blob\nmark :1\ndata 1\nx\n']
  for (let index = 0; index < 1_500; index++)
    stream.push(
      `commit refs/heads/main\ncommitter Anna <anna@example.org> ${1_700_000_000 + index} +0000\ndata ${String(index).length}\n${index}\n${index === 0 ? 'M 100644 :1 x\n' : ''}\n`,
    )
  repository.git(['fast-import', '--quiet'], stream.join(''))
  const seen = new Set<string>()
  const twice = repository
    .git(['rev-list', 'main'])
    .split('\n')
    .map((commit) => commit.slice(0, 4))
    .find((short) => seen.size === seen.add(short).size)
  assert.ok(twice !== undefined, '1,500 ids always share 4 digits: the ids are always the same')
  await assert.rejects(mirrorOf(repository).resolve(twice, null, signal), {
    ...unknown,
    message: new RegExp(`^"${twice}" is the beginning of several commits`),
  })
})

for (const name of [
  '--upload-pack=touch',
  '--upload-pack=touch PWNED',
  '-',
  '--',
  '--all',
  'main..other',
  '^main',
  'main^',
  'main~1',
  '@{-1}',
  'HEAD',
  'FETCH_HEAD',
  '@',
  ':/first',
  'main:a',
  'refs/heads/main',
  '../../HEAD',
  'dploy/HEAD',
  'a\nb',
  '',
  ' ',
  '\u{1b}[31m',
  'ü',
  '*',
  '[',
  'main\\',
  'x'.repeat(5_000),
  '"; touch PWNED; "',
  '$(touch PWNED)',
]) {
  test(`the name ${JSON.stringify(name.slice(0, 40))} is no revision, and nothing is run`, async () => {
    using repository = new TemporaryRepository()
    repository.commit({ a: '1' }, 'first')
    repository.commit({ a: '2' }, 'second')
    const mirror = mirrorOf(repository)
    await assert.rejects(mirror.resolve(name, null, signal), unknown)
    await assert.rejects(mirror.resolve(null, name, signal), unknown)
    assert.ok(
      !existsSync('PWNED') && !existsSync(join(mirror.path, 'PWNED')) && !existsSync(join(repository.path, 'PWNED')),
    )
  })
}

test('branches that look like options, ids and git syntax are found when they exist', async () => {
  using repository = new TemporaryRepository()
  const commit = repository.commit({ a: '1' })
  repository.commit({ a: '2' })
  const names = ['--upload-pack=touch', '-x', 'ü/é', '"quoted"', 'HEAD', 'a;b', '$(x)', 'deadbeef', 'x'.repeat(200)]
  for (const name of names) repository.git(['update-ref', `refs/heads/${name}`, commit])
  const mirror = mirrorOf(repository)
  for (const name of names) assert.equal((await mirror.resolve(name, null, signal)).commit, commit, name)
})

test('the mirror is fetched again, and only what is new', async () => {
  using repository = new TemporaryRepository()
  repository.commit(Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`file-${index}`, `${index}\n`])))
  const mirror = mirrorOf(repository)
  await mirror.resolve(null, null, signal)
  const objects = () =>
    Number(
      /^in-pack: (\d+)/m.exec(
        execFileSync('git', ['-C', mirror.path, 'count-objects', '-v'], { encoding: 'utf8' }),
      )![1],
    ) +
    Number(
      /^count: (\d+)/m.exec(execFileSync('git', ['-C', mirror.path, 'count-objects', '-v'], { encoding: 'utf8' }))![1],
    )
  const before = objects()
  const commit = repository.commit({ 'file-7': 'seven\n' })
  assert.equal((await mirror.resolve(null, null, signal)).commit, commit)
  assert.equal(objects() - before, 3, 'a commit, a tree, a blob')
  assert.equal(
    execFileSync('git', ['-C', mirror.path, 'rev-parse', '--is-bare-repository'], { encoding: 'utf8' }).trim(),
    'true',
  )
})

test('a whole commit id that is here needs no fetch', async () => {
  using repository = new TemporaryRepository()
  const commit = repository.commit({ a: '1' })
  const mirror = mirrorOf(repository)
  await mirror.resolve(null, null, signal)
  rmSync(repository.path, { recursive: true })
  assert.equal((await mirror.resolve(commit, null, signal)).commit, commit)
  await assert.rejects(mirror.resolve('main', null, signal), { code: 'source.unreachable' })
})

test('a branch that was force-pushed, moved tags and branches that become folders are followed; the old commit stays', async () => {
  using repository = new TemporaryRepository()
  const base = repository.commit({ a: '1' })
  const old = repository.commit({ a: 'old' })
  repository.git(['tag', 'v1'])
  repository.git(['branch', 'team', base])
  repository.git(['branch', 'gone', base])
  const mirror = mirrorOf(repository)
  assert.equal((await mirror.resolve('main', null, signal)).commit, old)
  repository.git(['reset', '--quiet', '--hard', base])
  const rewritten = repository.commit({ a: 'rewritten' })
  repository.git(['tag', '--force', 'v1'])
  repository.git(['branch', '-D', 'team', 'gone'])
  repository.git(['branch', 'team/anna'])
  assert.equal((await mirror.resolve('main', null, signal)).commit, rewritten)
  assert.equal((await mirror.resolve('v1', null, signal)).commit, rewritten)
  assert.equal((await mirror.resolve('team/anna', null, signal)).commit, rewritten)
  await assert.rejects(mirror.resolve('gone', null, signal), unknown)
  assert.equal((await mirror.resolve(old, null, signal)).commit, old)
})

test('a source whose HEAD names a branch that is not there serves its other branches', async () => {
  using repository = new TemporaryRepository()
  const commit = repository.commit({ a: '1' })
  const mirror = mirrorOf(repository)
  await mirror.resolve(null, null, signal)
  repository.git(['symbolic-ref', 'HEAD', 'refs/heads/trunk'])
  assert.equal((await mirror.resolve('main', null, signal)).commit, commit)
  await assert.rejects(mirror.resolve(null, null, signal), {
    ...unknown,
    message: `The HEAD of ${repository.path} names a branch that is not there`,
    fix: 'Name a branch under environments.NAME.branch in dploy.yml',
  })
})

test('an empty repository has no commit yet', async () => {
  using repository = new TemporaryRepository()
  await assert.rejects(mirrorOf(repository).resolve(null, null, signal), {
    ...unknown,
    message: `${repository.path} has no commit yet`,
  })
  await assert.rejects(mirrorOf(repository).resolve('main', null, signal), unknown)
})

test('a shallow clone, as CI makes it, can be deployed', async () => {
  using repository = new TemporaryRepository()
  repository.commit({ a: '1' })
  const commit = repository.commit({ a: '2' })
  const shallow = join(repository.top, 'shallow')
  execFileSync('git', ['clone', '--quiet', '--depth=1', `file://${repository.path}`, shallow])
  const mirror = mirrorOf(repository, shallow)
  assert.equal((await mirror.resolve(null, null, signal)).commit, commit)
  assert.equal((await mirror.resolve('main', null, signal)).commit, commit)
  execFileSync('git', ['-C', shallow, 'fetch', '--quiet', '--unshallow'])
  assert.equal((await mirror.resolve('main', null, signal)).commit, commit)
})

test('a path source is relative to the place of dploy.yml, may lie in a folder of its repository, and may be a link or a bare repository', async () => {
  using repository = new TemporaryRepository()
  const commit = repository.commit({ 'apps/web/index.html': 'x' })
  execFileSync('git', ['clone', '--quiet', '--bare', repository.path, join(repository.top, 'bare.git')])
  symlinkSync(repository.path, join(repository.top, 'link'))
  execFileSync('git', [
    '-C',
    repository.path,
    'worktree',
    'add',
    '--quiet',
    '--detach',
    join(repository.top, 'worktree'),
  ])
  const mirrors = join(repository.top, 'mirrors')
  for (const [source, base] of [
    ['.', repository.path],
    ['.', join(repository.path, 'apps/web')],
    ['../..', join(repository.path, 'apps/web')],
    ['repository', repository.top],
    ['bare.git', repository.top],
    ['link', repository.top],
    ['worktree', repository.top],
    [join(repository.top, 'bare.git'), null],
    [`file://${repository.path}`, null],
  ] as const) {
    assert.equal(
      (await new GitMirror(mirrors, source, base).resolve(null, null, signal)).commit,
      commit,
      `${source} from ${base}`,
    )
  }
})

test('a source that cannot be read is named, with what git says of it', async () => {
  using repository = new TemporaryRepository()
  const mirrors = join(repository.top, 'mirrors')
  const missing = join(repository.top, 'missing')
  await assert.rejects(new GitMirror(mirrors, missing, null).resolve(null, null, signal), {
    code: 'source.unreachable',
    where: missing,
    message: `The repository ${missing} cannot be read: fatal: '${missing}' does not appear to be a git repository`,
    fix: `Try: git ls-remote ${missing}`,
  })
  mkdirSync(missing)
  await assert.rejects(new GitMirror(mirrors, missing, null).resolve('main', null, signal), {
    code: 'source.unreachable',
    message: /does not appear to be a git repository$/,
  })
  assert.throws(() => new GitMirror(mirrors, 'shop', null), { code: 'source.unreachable', message: /"shop" is a path/ })
  await assert.rejects(new GitMirror(mirrors, 'http://127.0.0.1:9/shop.git', null).resolve('main', null, signal), {
    code: 'source.unreachable',
    message: /unable to access.*127\.0\.0\.1/,
  })
})

for (const url of [
  'ext::sh -c touch% PWNED',
  'ext::sh -c "touch PWNED"',
  'fd::17',
  'EXT::sh -c touch% PWNED',
  '--upload-pack=touch PWNED',
  '-c',
  'ssh://-oProxyCommand=touch PWNED/x',
  'x@-oProxyCommand=touch${IFS}PWNED:x',
  'ssh://x@-oProxyCommand=touch${IFS}PWNED/y',
  '-oProxyCommand=touch PWNED:x',
  'file:///dev/null',
  '/etc',
  '/proc/self/fd/0',
  'nonsense://x/y',
  'git://127.0.0.1:9/x',
]) {
  test(`the source ${JSON.stringify(url)} is refused, and nothing is run`, async () => {
    using repository = new TemporaryRepository()
    const mirrors = join(repository.top, 'mirrors')
    const read = async () => new GitMirror(mirrors, url, repository.top).resolve(null, null, signal)
    await assert.rejects(
      read,
      (error: { code: string }) => error.code === 'source.unreachable' || error.code === 'source.unsupported',
    )
    for (const place of [
      process.cwd(),
      repository.top,
      mirrors,
      ...(existsSync(mirrors) ? readdirSync(mirrors).map((name) => join(mirrors, name)) : []),
    ])
      assert.ok(!existsSync(join(place, 'PWNED')), place)
  })
}

test('the transport ext stays refused, whatever the environment allows', async (context) => {
  using repository = new TemporaryRepository()
  process.env.GIT_ALLOW_PROTOCOL = 'ext:file'
  context.after(() => delete process.env.GIT_ALLOW_PROTOCOL)
  const marker = join(repository.top, 'PWNED')
  await assert.rejects(
    async () =>
      new GitMirror(join(repository.top, 'mirrors'), `ext::touch ${marker}`, null).resolve(null, null, signal),
    { code: 'source.unsupported' },
  )
  assert.ok(!existsSync(marker))
})

test('hooks of the source and of the person do not run in the mirror', async (context) => {
  using repository = new TemporaryRepository()
  const commit = repository.commit({ a: '1' })
  const marker = join(repository.top, 'PWNED')
  for (const hook of ['reference-transaction', 'post-checkout', 'post-update']) {
    repository.write(`.git/hooks/${hook}`, `#!/bin/sh\ntouch ${marker}\n`, 0o755)
    repository.write(`../hooks/${hook}`, `#!/bin/sh\ntouch ${marker}\n`, 0o755)
  }
  repository.write(
    '../gitconfig',
    `[core]\n\thooksPath = ${join(repository.top, 'hooks')}\n[log]\n\tshowSignature = true\n[i18n]\n\tlogOutputEncoding = latin1\n[fetch]\n\tprune = false\n`,
  )
  process.env.GIT_CONFIG_GLOBAL = join(repository.top, 'gitconfig')
  process.env.GIT_DIR = join(repository.top, 'elsewhere')
  context.after(() => {
    delete process.env.GIT_CONFIG_GLOBAL
    delete process.env.GIT_DIR
  })
  assert.equal((await mirrorOf(repository).resolve(null, null, signal)).commit, commit)
  assert.ok(!existsSync(marker))
})

test('many who ask at once share fetches, and each sees what was pushed before it asked', async () => {
  using repository = new TemporaryRepository()
  repository.commit({ a: '0' })
  const mirror = mirrorOf(repository)
  const asked: Promise<void>[] = []
  for (let index = 0; index < 12; index++) {
    const commit = repository.commit({ a: `${index}\n` }, `change ${index}`)
    asked.push(
      mirror.resolve('main', null, signal).then((revision) => {
        const behind = Number(repository.git(['rev-list', '--count', `${revision.commit}..${commit}`]))
        assert.equal(behind, 0, `${revision.subject} is older than change ${index}, which was there already`)
      }),
    )
  }
  await Promise.all(asked)
})

test('whoever is cancelled does not take the others along', async () => {
  using repository = new TemporaryRepository()
  const commit = repository.commit({ a: '1' })
  const mirror = mirrorOf(repository)
  const abort = new AbortController()
  const first = mirror.resolve('main', null, abort.signal)
  const second = mirror.resolve('main', null, signal)
  abort.abort(new Error('cancelled by Anna'))
  await assert.rejects(first, { message: 'cancelled by Anna' })
  assert.equal((await second).commit, commit)
  await assert.rejects(mirror.resolve('main', null, abort.signal), { message: 'cancelled by Anna' })
})

test('two processes that make the same mirror at once both have it', async () => {
  using repository = new TemporaryRepository()
  const commit = repository.commit({ a: '1' })
  const mirrors = Array.from({ length: 6 }, () => mirrorOf(repository))
  const found = await Promise.all(mirrors.map((mirror) => mirror.resolve('main', null, signal)))
  assert.deepEqual(
    found.map((revision) => revision.commit),
    mirrors.map(() => commit),
  )
  assert.equal(readdirSync(join(repository.top, 'mirrors')).length, 1)
})

test('the commits between two are listed, the newest first', async () => {
  using repository = new TemporaryRepository()
  const commits = ['one', 'two', 'three\n\nwith a body', 'four'].map((subject) =>
    repository.commit({ a: subject }, subject),
  )
  const mirror = mirrorOf(repository)
  await mirror.fetch(signal)
  const subjects = async (from: number, to: number, limit = 10) =>
    (await mirror.between(commits[from]!, commits[to]!, limit, signal)).map(({ subject }) => subject)
  assert.deepEqual(await subjects(0, 3), ['four', 'three', 'two'])
  assert.deepEqual(await subjects(0, 3, 2), ['four', 'three'])
  assert.deepEqual(await subjects(3, 3), [])
  assert.deepEqual(await subjects(3, 0), [])
})

test('a lock that a killed git left is removed, and a living one is waited for', async () => {
  using repository = new TemporaryRepository()
  repository.commit({ a: '1' })
  const mirror = mirrorOf(repository)
  await mirror.resolve('main', null, signal)
  const lock = join(mirror.path, 'refs/heads/main.lock')

  let commit = repository.commit({ a: '2' })
  writeFileSync(lock, '')
  utimesSync(lock, 1, 1)
  assert.equal((await mirror.resolve('main', null, signal)).commit, commit)
  assert.ok(!existsSync(lock))

  commit = repository.commit({ a: '3' })
  writeFileSync(lock, '')
  const asked = mirror.resolve('main', null, signal)
  const released = setTimeout(() => rmSync(lock), 200)
  assert.equal((await asked).commit, commit)
  clearTimeout(released)
})

test('a password in the address goes to the host it is for, and into no message and no command line', async () => {
  using repository = new TemporaryRepository()
  const commit = repository.commit({ a: '1' })
  const backend = join(execFileSync('git', ['--exec-path'], { encoding: 'utf8' }).trim(), 'git-http-backend')
  const password = 'p%40ss word\'"$x'
  const said: (string | undefined)[] = []
  const commandLines: string[] = []
  const server = createServer((request, response) => {
    said.push(request.headers.authorization)
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      try {
        commandLines.push(readFileSync(`/proc/${pid}/cmdline`, 'latin1'))
      } catch {
        // It has ended meanwhile.
      }
    }
    if (request.headers.authorization !== `Basic ${Buffer.from(`anna:${password}`).toString('base64')}`) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
      return
    }
    const url = new URL(request.url!, 'http://x')
    const child = spawn(backend, [], {
      env: {
        ...process.env,
        GIT_PROJECT_ROOT: repository.top,
        GIT_HTTP_EXPORT_ALL: '1',
        REQUEST_METHOD: request.method,
        PATH_INFO: url.pathname,
        QUERY_STRING: url.search.slice(1),
        CONTENT_TYPE: request.headers['content-type'] ?? '',
        HTTP_GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
      },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    request.pipe(child.stdin)
    const output: Buffer[] = []
    child.stdout
      .on('data', (chunk: Buffer) => output.push(chunk))
      .once('close', () => {
        const whole = Buffer.concat(output)
        const end = whole.indexOf('\r\n\r\n')
        for (const line of whole.toString('latin1', 0, end).split('\r\n'))
          response.setHeader(line.split(': ')[0]!, line.split(': ')[1]!)
        response.end(whole.subarray(end + 4))
      })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
    const mirrors = join(repository.top, 'mirrors')
    const right = new GitMirror(mirrors, `http://anna:${encodeURIComponent(password)}@${host}/repository`, null)
    assert.equal((await right.resolve('main', null, signal)).commit, commit)
    assert.ok(said.includes(undefined) && said.some((header) => header?.startsWith('Basic ')))

    const wrong = new GitMirror(mirrors, `http://anna:secret-and-wrong@${host}/repository`, null)
    assert.equal(wrong.path, right.path, 'a changed password needs no new mirror')
    await assert.rejects(wrong.resolve('main', null, signal), (error: DployError) => {
      assert.equal(error.code, 'source.unreachable')
      assert.match(error.message, /Authentication failed/)
      assert.doesNotMatch(`${error.message} ${error.where} ${error.fix} ${inspect(error)}`, /secret-and-wrong|anna:/)
      return true
    })
    assert.equal(said.at(-1), `Basic ${Buffer.from('anna:secret-and-wrong').toString('base64')}`)
    assert.ok(
      commandLines.some((line) => line.includes(host)),
      'git was seen at work',
    )
    assert.ok(
      !commandLines.some((line) => line.includes('secret-and-wrong') || line.includes(encodeURIComponent(password))),
    )
    await assert.rejects(
      right.resolve('unknown', null, signal),
      (error: DployError) =>
        !`${error.message} ${error.where} ${error.fix}`.includes(password) &&
        !error.message.includes(encodeURIComponent(password)),
    )
  } finally {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
})
