import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'

/** Copies this machine's curl with all its libraries into a directory, for servers that have none. It is run as `/opt/curl/run`. */
export function copyCurl(directory: string): void {
  mkdirSync(directory, { recursive: true })
  copyFileSync('/usr/bin/curl', join(directory, 'curl'))
  const libraries = execFileSync('ldd', ['/usr/bin/curl'], { encoding: 'utf8' })
  for (const [path] of libraries.matchAll(/\/\S+\.so\S*/g)) copyFileSync(path, join(directory, basename(path)))
  writeFileSync(
    join(directory, 'run'),
    '#!/bin/sh\nexec /opt/curl/ld-linux-x86-64.so.2 --library-path /opt/curl /opt/curl/curl "$@"\n',
    { mode: 0o755 },
  )
}
