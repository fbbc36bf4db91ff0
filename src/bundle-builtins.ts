import { builtinModules } from 'node:module'
import type { Plugin } from 'esbuild'

const names = new Set(builtinModules)

/**
 * Loads each of Node's own modules when something of it is first used. An `import` of one reads all its names at once,
 * and one name of `node:http` loads all of undici: a third of the time that an agent takes to start.
 */
export const builtinsWhenUsed: Plugin = {
  name: "Node's own modules when they are used",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^(node:)?[a-z0-9_/]+$/ }, ({ path }) => {
      const name = path.replace(/^node:/, '')
      return path.startsWith('node:') || names.has(name) ? { path: name, namespace: 'builtin' } : null
    })
    onLoad({ filter: /^/, namespace: 'builtin' }, ({ path }) => {
      const whole = process.getBuiltinModule(`node:${path}`) as object | undefined
      const get = `process.getBuiltinModule(${JSON.stringify(`node:${path}`)})`
      // One that is itself a function (events, stream, assert) is what it is.
      if (typeof whole !== 'object') return { contents: `module.exports = ${get}` }
      return {
        contents: `let whole
const part = (name) => ({ enumerable: true, get: () => (whole ??= ${get})[name], set: (value) => void ((whole ??= ${get})[name] = value) })
module.exports = Object.defineProperties({}, Object.fromEntries(${JSON.stringify(Object.keys(whole))}.map((name) => [name, part(name)])))`,
      }
    })
  },
}
