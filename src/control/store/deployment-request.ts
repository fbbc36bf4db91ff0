import type { Revision } from '../../protocol/release-spec.ts'

/** What was asked for, as far as the deployment needs it to be carried out (again) from the database alone. */
export interface DeploymentRequest {
  /** Branch, tag or commit; null: the environment's branch. */
  revision: string | null
  /** An artifact instead of a revision: one that was uploaded, or that another environment's release has. */
  artifact: string | null
  /** Of the latter: where it came from, and its revision. */
  promoted?: { environment: string; release: number; revision: Revision }
  /** An existing release, for a rollback or to converge. */
  release: string | null
  /** Names of the servers it is limited to; null: all of the environment. */
  servers: string[] | null
  /** A person has said that it may pass the commit point although a server could not be switched back. */
  noWayBack?: boolean
  /** The message of a webhook that asked for it. */
  push?: { delivery: string }
  /** The stored answer of the request that asked for it, where that came with an Idempotency-Key. */
  answer?: string
}
