import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { Command } from 'commander'
import { formatBytes } from '../protocol/bytes.ts'
import { DployError } from '../protocol/errors.ts'
import { makeOutput } from './output.ts'
import { readValue } from './secret/value.ts'

interface BackupFlags {
  data?: string
  encrypt: boolean
  passphraseFile?: string
  withoutArtifacts: boolean
  json: boolean
}

export function backupCommand(): Command {
  return new Command('backup')
    .description("back a control plane's data up into one file, while it works")
    .argument('<file>', 'the file to write')
    .option('--data <dir>', 'what dploy serve was given; by default .dploy here')
    .option('--encrypt', 'ask for a passphrase, or read it from standard input', false)
    .option('--passphrase-file <file>', 'encrypt with the first line of a file')
    .option(
      '--without-artifacts',
      'leave the files of releases out: they are built again, and rollbacks need what the servers have',
    )
    .option('--json', 'one JSON object a line', false)
    .addHelpText(
      'after',
      `
The file holds the key that agents obey and the one that opens secrets: keep it as you keep those, or encrypt it.

Examples:
  $ dploy backup /backup/dploy.backup --data /var/lib/dploy-control
  $ dploy backup /backup/dploy.backup --data /var/lib/dploy-control --passphrase-file /root/backup-passphrase`,
    )
    .action(async (file: string, options: BackupFlags) => {
      const output = makeOutput(options)
      const { backUp } = await import('./embed.ts')
      const made = await backUp({
        data: dataOf(options.data),
        file,
        passphrase: options.encrypt || options.passphraseFile !== undefined ? await passphraseOf(options) : null,
        artifacts: !options.withoutArtifacts,
      })
      if (output.mode === 'json') output.result({ ...made })
      else {
        output.line(
          `Backed up to ${made.file}: ${formatBytes(made.bytes)}, ${made.releases} releases, ${made.objects} files of theirs.`,
        )
        if (made.lacking > 0)
          output.line(
            `Of ${made.lacking} artifacts something is missing in the store: they are built again when they are deployed.`,
          )
      }
    })
}

export function restoreCommand(): Command {
  return new Command('restore')
    .description("make a control plane's data of a backup")
    .argument('<file>', 'what dploy backup wrote')
    .option('--data <dir>', 'where to; by default .dploy here')
    .option('--passphrase-file <file>', 'the passphrase of an encrypted backup: the first line of a file')
    .option('--force', 'also where there is data already: it is kept beside', false)
    .option('--json', 'one JSON object a line', false)
    .addHelpText('after', '\nExamples:\n  $ dploy restore /backup/dploy.backup --data /var/lib/dploy-control')
    .action(async (file: string, options: Omit<BackupFlags, 'withoutArtifacts' | 'encrypt'> & { force: boolean }) => {
      const output = makeOutput(options)
      const { restore } = await import('./embed.ts')
      const data = dataOf(options.data)
      const restored = await restore({ data, file, force: options.force, passphrase: () => passphraseOf(options) })
      if (output.mode === 'json') return output.result({ data, ...restored })
      output.line(`Restored ${restored.files} files of ${new Date(restored.createdAt).toISOString()} into ${data}.`)
      if (restored.before !== null) output.line(`What was there is in ${restored.before}.`)
      if (!restored.artifacts)
        output.line('It was made without artifacts: revisions are built again when they are deployed.')
      output.line(`Start it: dploy serve --data ${data}`)
    })
}

function dataOf(data: string | undefined): string {
  return resolve(data ?? '.dploy')
}

async function passphraseOf({ passphraseFile }: { passphraseFile?: string }): Promise<string> {
  if (passphraseFile === undefined) return readValue('Passphrase of the backup: ')
  let text: string
  try {
    text = readFileSync(passphraseFile, 'utf8')
  } catch (error) {
    throw new DployError('file.unreadable', `${passphraseFile} cannot be read: ${(error as Error).message}`, {
      cause: error,
    })
  }
  const [line = ''] = text.split('\n')
  if (line.trim() === '') throw new DployError('request.invalid', `The first line of ${passphraseFile} is empty`)
  return line.replace(/\r$/, '')
}
