import { join } from 'node:path'
import { readConfig } from '../../protocol/config/text.ts'
import type { Config } from '../../protocol/config/config.ts'
import type { Entry } from '../../protocol/manifest.ts'
import { TemporaryRepository } from '../sources/temporary-repository.ts'
import { Artifacts, type Built } from './artifacts.ts'

/** A repository and the artifacts made of it, in a directory of their own, for tests. */
export class TemporaryArtifacts implements Disposable {
  readonly repository = new TemporaryRepository()
  readonly data = join(this.repository.top, 'data')
  readonly signal = AbortSignal.timeout(300_000)
  /** What builds printed. */
  output = ''
  artifacts = new Artifacts(this.data)

  config(build: Record<string, unknown> = {}, more: Record<string, unknown> = {}): Config {
    return readConfig(
      JSON.stringify({
        application: 'shop',
        source: this.repository.path,
        build,
        environments: { production: { servers: ['web1'] } },
        ...more,
      }),
    )
  }

  /** Builds what `ref` names, by default the HEAD. */
  async build(
    config: Config = this.config(),
    ref: string | null = null,
    signal: AbortSignal = this.signal,
  ): Promise<Built> {
    const revision = await this.artifacts.resolve(config, null, ref, null, signal)
    return this.artifacts.build(config, null, revision, { signal, onOutput: (_, text) => (this.output += text) })
  }

  entries(built: Built): Entry[] {
    return this.artifacts.manifests.get(built.artifact).entries
  }

  paths(built: Built): string[] {
    return this.entries(built).map(({ path }) => path)
  }

  /** The text of a file of an artifact. */
  text(built: Built, path: string): string {
    const entry = this.entries(built).find((each) => each.path === path)
    if (entry?.kind !== 'file') throw new Error(`${path} is no file of the artifact`)
    return Buffer.concat([...this.artifacts.store.read(entry.digest)]).toString('utf8')
  }

  /** As after a restart of the control plane. */
  reopen(): void {
    this.artifacts[Symbol.dispose]()
    this.artifacts = new Artifacts(this.data)
  }

  [Symbol.dispose](): void {
    this.artifacts[Symbol.dispose]()
    this.repository[Symbol.dispose]()
  }
}
