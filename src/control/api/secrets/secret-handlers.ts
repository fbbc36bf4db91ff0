import type { ApiContext } from '../context.ts'
import { environmentIn } from '../environments/environment-in.ts'
import type { Handlers } from '../server.ts'

/** Secrets of an environment. Their values are never told. */
export function secretHandlers(context: ApiContext): Pick<Handlers, 'secrets' | 'setSecret' | 'removeSecret'> {
  const { store } = context
  const environmentOf = environmentIn(context)

  return {
    async secrets({ params }) {
      return { secrets: await store.secrets.list((await environmentOf(params)).id) }
    },

    async setSecret({ params, body, caller, tell }) {
      const [environment, now, by] = [await environmentOf(params), Date.now(), body.setBy ?? caller.name]
      const before = (await store.secrets.list(environment.id)).find(({ name }) => name === params.name)
      // Never a value.
      tell({ before: before ? { setAt: before.setAt, setBy: before.setBy } : null, after: { setAt: now, setBy: by } })
      await store.secrets.set(environment.id, params.name, body.value, by, now)
      return { name: params.name, setAt: now, setBy: by }
    },

    async removeSecret({ params, tell }) {
      const environment = await environmentOf(params)
      const before = (await store.secrets.list(environment.id)).find(({ name }) => name === params.name)
      tell({ before: before ? { setAt: before.setAt, setBy: before.setBy } : null, after: null })
      await store.secrets.remove(environment.id, params.name)
      return {}
    },
  }
}
