import { mkdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { builtinsWhenUsed } from './bundle-builtins.ts'
import { version } from './protocol/product-version.ts'

/** Makes `dist/agent.mjs`: the agent as one file, which is all that a server needs beside Node. Answers its path. */
export async function bundleAgent(directory: string): Promise<{ path: string; bytes: number }> {
  const path = join(directory, 'agent.mjs')
  await mkdir(directory, { recursive: true })
  // Made beside and renamed: others read it, or make it, at the same time.
  const part = `${path}.part.${process.pid}`
  try {
    await makeFile(part)
    await rename(part, path)
  } finally {
    await rm(part, { force: true })
  }
  return { path, bytes: (await stat(path)).size }
}

async function makeFile(path: string): Promise<void> {
  await build({
    entryPoints: [fileURLToPath(new URL('./agent/main.ts', import.meta.url))],
    outfile: path,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    minify: true,
    plugins: [builtinsWhenUsed],
    external: ['bufferutil', 'utf-8-validate'],
    define: { 'process.env.DPLOY_VERSION': JSON.stringify(version()) },
    logLevel: 'error',
  })
}

if (import.meta.main) {
  const { path, bytes } = await bundleAgent(fileURLToPath(new URL('../dist', import.meta.url)))
  process.stdout.write(`${path}: ${Math.round(bytes / 1024)} KB\n`)
}
