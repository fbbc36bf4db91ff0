import { readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { releaseSpecSchema, type ReleaseSpec } from '../../protocol/release-spec.ts'
import { below } from '../application-directory.ts'

export interface CurrentRelease {
  /** Absolute path of the application's directory, whether it exists or not. */
  directory: string
  /** Null if nothing serves there. */
  spec: ReleaseSpec | null
}

/** What serves in an application's directory. Unlike ApplicationDirectory it makes nothing. Throws `path.unsafe`. */
export function currentRelease(root: string, directory: string): CurrentRelease {
  const path = below(root, directory)
  try {
    const number = /^releases\/(\d+)$/.exec(readlinkSync(join(path, 'current')))?.[1]
    return {
      directory: path,
      spec:
        number === undefined
          ? null
          : releaseSpecSchema.parse(JSON.parse(readFileSync(join(path, '.dploy/releases', `${number}.json`), 'utf8'))),
    }
  } catch {
    return { directory: path, spec: null }
  }
}

/** The environment in which a person's command runs: a plain one, with the variables of the release that serves. */
export function commandEnvironment(
  place: { application: string; environment: string },
  server: string,
  spec: ReleaseSpec | null,
): Record<string, string> {
  return {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    LANG: 'C.UTF-8',
    HOME: process.env.HOME ?? '/',
    DPLOY_APPLICATION: place.application,
    DPLOY_ENVIRONMENT: place.environment,
    DPLOY_SERVER: server,
    ...(spec && { DPLOY_RELEASE: String(spec.number), DPLOY_REVISION: spec.revision.commit ?? '', ...spec.variables }),
  }
}
