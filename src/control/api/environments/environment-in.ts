import type { Environment } from '../../store/applications.ts'
import type { ApiContext } from '../context.ts'

/** Finds the environment that a path names. Throws `not_found`. */
export function environmentIn({
  store,
}: Pick<ApiContext, 'store'>): (params: { application: string; environment: string }) => Promise<Environment> {
  return ({ application, environment }) => store.applications.environment(application, environment)
}
