import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

/** What a tree made by hand consists of; the name may be anything but NUL. */
export interface RawTreeItem {
  mode: '100644' | '100755' | '120000' | '160000' | '40000'
  name: string | Buffer
  oid: string
}

/** A real git repository in a directory of its own, for tests. `top` holds it, and is removed with it. */
export class TemporaryRepository implements Disposable {
  readonly top = mkdtempSync(join(tmpdir(), 'dploy-source-'))
  readonly path = join(this.top, 'repository')

  constructor() {
    mkdirSync(this.path)
    execFileSync('git', ['init', '--quiet', '--initial-branch=main', this.path])
  }

  git(args: readonly string[], input: string | Uint8Array = '', env: Record<string, string> = {}): string {
    const identity = ['-c', 'user.name=Anna', '-c', 'user.email=anna@example.org', '-c', 'gc.auto=0']
    return execFileSync('git', ['-C', this.path, ...identity, ...args], {
      encoding: 'utf8',
      input,
      env: { ...process.env, ...env },
      maxBuffer: 64 * 1024 * 1024,
      stdio: ['pipe', 'pipe', 'pipe'],
    }).trim()
  }

  /** Writes files, commits everything and answers the commit. */
  commit(files: Record<string, string | Uint8Array> = {}, subject = 'a change'): string {
    for (const [name, content] of Object.entries(files)) this.write(name, content)
    this.git(['add', '--all', '.'])
    this.git(['commit', '--quiet', '--allow-empty', '--message', subject])
    return this.git(['rev-parse', 'HEAD'])
  }

  write(name: string, content: string | Uint8Array, mode?: number): void {
    const path = join(this.path, name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, content)
    if (mode !== undefined) chmodSync(path, mode)
  }

  blob(content: string | Uint8Array): string {
    return this.git(['hash-object', '-w', '--stdin'], content)
  }

  /** A tree with just these items, in this order, however little git would like it. */
  tree(items: readonly RawTreeItem[]): string {
    const raw = Buffer.concat(
      items.flatMap(({ mode, name, oid }) => [
        Buffer.from(`${mode} `),
        Buffer.from(name),
        Buffer.of(0),
        Buffer.from(oid, 'hex'),
      ]),
    )
    return this.git(['hash-object', '-w', '-t', 'tree', '--literally', '--stdin'], raw)
  }

  /** Points `branch` at a new commit of this tree. */
  commitTree(tree: string, branch = 'main', subject = 'a tree made by hand'): string {
    const commit = this.git(['commit-tree', '-m', subject, tree])
    this.git(['update-ref', `refs/heads/${branch}`, commit])
    return commit
  }

  [Symbol.dispose](): void {
    rmSync(this.top, { recursive: true, force: true })
  }
}
