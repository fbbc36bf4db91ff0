import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { accessSync, constants, existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { readConfig } from '../../src/protocol/config/text.ts'

const run = promisify(execFile)
const top = join(import.meta.dirname, '../..')
const documents = globSync('{*,{docs,decisions,contributing,src,e2e,bench}/**/*}.md', { cwd: top }).map((file) => ({
  file,
  text: readFileSync(join(top, file), 'utf8'),
}))

test('every link between documents leads somewhere', () => {
  for (const { file, text } of documents) {
    for (const [, link] of withoutCode(text).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(link!)) continue
      const [path, anchor] = link!.split('#')
      const target = path === '' ? file : join(dirname(file), path!)
      assert.ok(existsSync(join(top, target)), `${file} links to ${link}, which is not there`)
      if (anchor !== undefined)
        assert.ok(anchorsOf(target).includes(anchor), `${file} links to ${link}; ${target} has no such heading`)
    }
  }
})

test('every file that a document names is there', () => {
  for (const { file, text } of documents) {
    for (const piece of codeOf(text)) {
      if (!/^(?:src|e2e|bench|docs|bin|decisions|contributing)\/[\w./-]+$/.test(piece) || piece.includes('KIND'))
        continue
      assert.ok(existsSync(join(top, piece)), `${file} names ${piece}, which is not there`)
    }
  }
})

test('every command of bin/ that a document shows can be run', () => {
  for (const { file, text } of documents) {
    for (const piece of codeOf(text)) {
      const [command] = /^bin\/[\w.-]+(?= |$)/.exec(piece) ?? []
      if (command === undefined || command.endsWith('.sh')) continue
      assert.doesNotThrow(() => accessSync(join(top, command), constants.X_OK), `${file} shows ${command}`)
    }
  }
})

test('every dploy command that a document shows is one, and has the options that it is shown with', async () => {
  const helps = new Map<string, Promise<string>>()
  const help = (...words: string[]) => {
    const key = words.join(' ')
    if (!helps.has(key))
      helps.set(
        key,
        run(process.execPath, [join(top, 'src/cli/main.ts'), ...words, '--help']).then(({ stdout }) => stdout),
      )
    return helps.get(key)!
  }
  const general = await help()
  for (const { file, text } of documents) {
    for (const piece of codeOf(text)) {
      const [, first, second] =
        /^(?:[A-Z_]+=\S+ )*(?:ExecStart=)?(?:\S*bin\/)?dploy ([a-z]+)(?: ([a-z]+))?/.exec(piece) ?? []
      if (first === undefined) continue
      assert.ok(commandsOf(general).includes(first), `${file} shows "${piece}", but dploy --help knows no ${first}`)
      let own = await help(first)
      if (second !== undefined && commandsOf(own).length > 0) {
        assert.ok(
          commandsOf(own).includes(second),
          `${file} shows "${piece}", but dploy ${first} --help knows no ${second}`,
        )
        own = await help(first, second)
      }
      for (const [option] of piece.split(' #')[0]!.matchAll(/(?<= )--[a-z-]+/g)) {
        assert.ok(
          `${own}${general}`.includes(option),
          `${file} shows "${piece}", but dploy ${first} --help knows no ${option}`,
        )
      }
    }
  }
})

test('every whole dploy.yml that a document shows is valid', () => {
  const examples = documents.flatMap(({ file, text }) =>
    [...text.matchAll(/^```yaml\n(application:.*?)^```/gms)].map(([, example]) => ({ file, example: example! })),
  )
  assert.ok(examples.length >= 2, 'README.md and docs/getting-started.md show one each')
  for (const { file, example } of examples)
    assert.doesNotThrow(() => readConfig(example, file), `the dploy.yml in ${file}`)
})

function withoutCode(text: string): string {
  return text.replaceAll(/^```.*?^```/gms, '').replaceAll(/`[^`\n]*`/g, '')
}

/** Code of a document: each line of its blocks, each piece between backticks. */
function codeOf(text: string): string[] {
  const blocks = [...text.matchAll(/^```.*?\n(.*?)^```/gms)].flatMap(([, block]) => block!.split('\n'))
  const spans = [...text.replaceAll(/^```.*?^```/gms, '').matchAll(/`([^`\n]+)`/g)].map(([, span]) => span!)
  return [...blocks, ...spans].map((piece) => piece.trim())
}

/** Names of the commands that a help lists. */
function commandsOf(help: string): string[] {
  const list = help.split(/^Commands:$/m)[1]?.split(/\n\n/)[0] ?? ''
  return [...list.matchAll(/^ {2}([a-z]+)\b/gm)].map(([, name]) => name!)
}

/** What GitHub makes of the headings of a document. */
function anchorsOf(file: string): string[] {
  return [...readFileSync(join(top, file), 'utf8').matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}
