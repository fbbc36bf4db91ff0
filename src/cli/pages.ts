import { spawn } from 'node:child_process'
import { existsSync, globSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DployError } from '../protocol/errors.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const built = join(root, 'dist/web')

/**
 * The directory of the built pages. In a checkout they are built when they are missing or older than their sources, by
 * a process of its own, once for all who ask; `say` hears of it. Null where there is nothing to build them from.
 */
export function pagesOf(say: (text: string) => void): () => Promise<string | null> {
  let wanted: Promise<string | null> | null = null
  return () =>
    (wanted ??= ensure(say).catch((error: unknown) => {
      wanted = null
      throw error
    }))
}

async function ensure(say: (text: string) => void): Promise<string | null> {
  if (!existsSync(join(root, 'src/web/main.tsx'))) return existsSync(join(built, 'index.html')) ? built : null
  if (!isStale()) return built
  const begin = performance.now()
  say('Building the pages (once)…')
  await build()
  say(`The pages are built (${((performance.now() - begin) / 1000).toFixed(1)} s).`)
  return built
}

function isStale(): boolean {
  const made = statSync(join(built, 'index.html'), { throwIfNoEntry: false })
  if (!made) return true
  const sources = globSync(
    ['src/web/**/*', 'src/client/**/*.ts', 'src/protocol/**/*.ts', 'src/bundle-web.ts', 'package-lock.json'],
    { cwd: root },
  )
  return sources.some((file) => statSync(join(root, file)).mtimeMs > made.mtimeMs)
}

function build(): Promise<void> {
  const child = spawn(process.execPath, [join(root, 'src/bundle-web.ts'), built], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let trouble = ''
  child.stderr.on('data', (data: Buffer) => (trouble = (trouble + data.toString()).slice(0, 4_000)))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) =>
      code === 0
        ? resolve()
        : reject(
            new DployError('internal', `The pages could not be built: ${trouble.trim()}`, {
              fix: 'Run: node src/bundle-web.ts',
            }),
          ),
    )
  })
}
