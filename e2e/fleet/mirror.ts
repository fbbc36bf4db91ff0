import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Where this machine itself gets its Debian packages from. */
export interface Mirror {
  uri: string
  suite: string
  components: string[]
  keyring: string | undefined
}

/**
 * The mirror of this machine's own release, from its apt configuration in either form (one-line, deb822); this is the one that its
 * network can reach and its owner trusts. `directory` is /etc/apt except in tests. Throws when none is found.
 */
export function findMirror(codename: string, directory = '/etc/apt'): Mirror {
  const listed = [
    'sources.list',
    ...filesOf(join(directory, 'sources.list.d')).map((name) => join('sources.list.d', name)),
  ]
  for (const name of listed) {
    const path = join(directory, name)
    if (!existsSync(path)) continue
    const text = readFileSync(path, 'utf8')
    const found = (name.endsWith('.sources') ? deb822(text) : oneLine(text)).find(
      (mirror) =>
        mirror.suite === codename && mirror.components.includes('main') && /^(https?|file|ftp):/.test(mirror.uri),
    )
    if (found) return found
  }
  throw new Error(
    `No Debian mirror for ${codename} in ${directory}/sources.list or sources.list.d. Add a line: deb http://deb.debian.org/debian ${codename} main`,
  )
}

function filesOf(directory: string): string[] {
  return existsSync(directory)
    ? readdirSync(directory)
        .filter((name) => /\.(list|sources)$/.test(name))
        .sort()
    : []
}

function oneLine(text: string): Mirror[] {
  const mirrors: Mirror[] = []
  for (const line of text.split('\n')) {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)/.exec(line)
    if (!match) continue
    const keyring = /(?:^|\s)signed-by=(\S+)/i.exec(match[1] ?? '')?.[1]
    mirrors.push({
      uri: match[2]!,
      suite: match[3]!,
      components: match[4]!.trim().split(/\s+/),
      keyring: keyringOf(keyring),
    })
  }
  return mirrors
}

function deb822(text: string): Mirror[] {
  const mirrors: Mirror[] = []
  for (const paragraph of text.replace(/^#.*\n?/gm, '').split(/\n\s*\n/)) {
    const fields = new Map<string, string>()
    // A line that begins with white space goes on with the field before it.
    for (const line of paragraph.replace(/\n[ \t]+/g, ' ').split('\n')) {
      const match = /^([\w-]+):\s*(.*)$/.exec(line)
      if (match) fields.set(match[1]!.toLowerCase(), match[2]!.trim())
    }
    const words = (field: string): string[] => (fields.get(field) ?? '').split(/\s+/).filter(Boolean)
    if (!words('types').includes('deb') || /^(no|false|0)$/i.test(fields.get('enabled') ?? '')) continue
    for (const uri of words('uris')) {
      for (const suite of words('suites'))
        mirrors.push({ uri, suite, components: words('components'), keyring: keyringOf(words('signed-by')[0]) })
    }
  }
  return mirrors
}

/** debootstrap takes a file; apt also allows a fingerprint or a key written into the field, for which debootstrap's own default serves. */
function keyringOf(value: string | undefined): string | undefined {
  return value?.startsWith('/') ? value : undefined
}
