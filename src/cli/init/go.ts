import { portOf } from './port.ts'
import type { Project } from './project.ts'
import type { Stack } from './proposal.ts'
import { healthPathOf } from './routes.ts'

/** Go: one static binary, built once, shipped with the folders that it reads at run time. */
export function recogniseGo(project: Project): Stack | null {
  if (!project.isFile('go.mod')) return null
  const modules = project.text('go.mod')
  const main = mainPackage(project)
  if (main === null) return null
  const moduleName =
    /^module\s+(\S+)/m
      .exec(modules)?.[1]
      ?.replace(/\/v\d+$/, '')
      .split('/')
      .at(-1) ?? project.name
  const binary = (main === '.' ? moduleName : main.split('/').at(-1)!).replace(/[^A-Za-z0-9._-]/g, '-')
  const needsC = /mattn\/go-sqlite3|confluent-kafka-go|h2non\/bimg|go-gl\//.test(modules)
  const folders = ['templates', 'views', 'static', 'public', 'assets', 'web', 'migrations', 'config', 'configs'].filter(
    (folder) => project.isDirectory(folder),
  )
  const { port, fixed } = portOf(project, ['.go'], 8080)
  const notes = ['The binary is built for linux/amd64; for ARM servers set GOARCH to arm64.']
  if (needsC) notes.push('A dependency is written in C (cgo): build on the same kind of Linux as the servers have.')
  if (!project.isFile('go.sum') && /^require\b/m.test(modules))
    notes.push('go.sum is missing: run "go mod tidy" and commit it.')
  return {
    name: 'Go',
    build: {
      command: {
        value: `go build -trimpath -o bin/${binary} ${main === '.' ? '.' : `./${main}`}`,
        why: 'One binary, built once; -trimpath makes the same source give the same bytes.',
      },
      ship: {
        value: [`bin/${binary}`, ...folders],
        why:
          folders.length === 0
            ? 'The binary needs nothing else.'
            : 'The binary, and the folders that it may read when it runs.',
      },
      variables: {
        CGO_ENABLED: needsC
          ? { value: '1', why: 'A dependency needs the C compiler.' }
          : { value: '0', why: 'A static binary runs on any Linux.' },
        GOOS: { value: 'linux', why: 'What the servers run.' },
        GOARCH: { value: 'amd64', why: 'arm64 for ARM servers.' },
      },
    },
    service: {
      command: {
        value: `./bin/${binary}${fixed ? '' : portFlag(project)}`,
        why: 'The binary itself; it has to stay in the foreground.',
      },
      port,
      health: healthPathOf(project, ['.go']),
    },
    notes,
  }
}

function mainPackage(project: Project): string | null {
  const packages = project
    .sources(['.go'])
    .filter((source) => /^package main\b/m.test(source.text) && /^func main\(\)/m.test(source.text))
  const folders = [
    ...new Set(
      packages.map((source) => (source.path.includes('/') ? source.path.slice(0, source.path.lastIndexOf('/')) : '.')),
    ),
  ]
  const serves = new Set(
    packages
      .filter((source) => /net\/http|gin-gonic|labstack\/echo|gofiber|go-chi/.test(source.text))
      .map((source) => source.path.slice(0, Math.max(0, source.path.lastIndexOf('/'))) || '.'),
  )
  const preferred = ['.', 'cmd/server', 'cmd/web', 'cmd/api', `cmd/${project.name}`]
  const usable = folders.filter((folder) => !/(^|\/)(examples?|tools?|scripts?)(\/|$)/.test(folder))
  return (
    preferred.find((folder) => usable.includes(folder)) ??
    usable.find((folder) => serves.has(folder)) ??
    usable[0] ??
    null
  )
}

/** A program that takes its port as a flag gets it as one. */
function portFlag(project: Project): string {
  for (const { text } of project.sources(['.go'])) {
    if (/Getenv\("PORT"\)|LookupEnv\("PORT"\)/.test(text)) return ''
    const port = /flag\.(?:Int|Uint|String)(?:Var)?\(\s*(?:&\w+,\s*)?"(port|p)"/.exec(text)?.[1]
    if (port !== undefined) return ` -${port} "$PORT"`
    const address = /flag\.String(?:Var)?\(\s*(?:&[\w.]+,\s*)?"(addr|address|listen|http|bind)"/.exec(text)?.[1]
    if (address !== undefined) return ` -${address} ":$PORT"`
  }
  return ''
}
