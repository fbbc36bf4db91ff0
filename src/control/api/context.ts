import type { Logger } from 'pino'
import type { Balancer } from '../../balancers/contract.ts'
import type { BalancerConfig, Config } from '../../protocol/config/config.ts'
import type { Digest, Manifest } from '../../protocol/manifest.ts'
import type { Revision } from '../../protocol/release-spec.ts'
import type { CommandRuns } from '../commands/command-runs.ts'
import type { FileCopies } from '../commands/file-copies.ts'
import type { Converger } from '../deploy/keepers/converger.ts'
import type { Deployer } from '../deploy/run/deployer.ts'
import type { SharedLocks } from '../deploy/lock/shared-lock.ts'
import type { ArtifactSource } from '../deploy/run/run.ts'
import type { Gateway } from '../gateway/gateway.ts'
import type { Guesses } from '../people/guesses.ts'
import type { Measured } from '../metrics/measured.ts'
import type { Notifier } from '../notify/notifier.ts'
import type { Refusals } from '../refusals.ts'
import type { Receiver } from '../webhooks/receiver.ts'
import type { Vitals } from '../vitals/vitals.ts'
import type { PagesDirectory } from './pages.ts'
import type { Files, Named } from '../sources/history.ts'
import type { Store } from '../store/store.ts'

/** What the API's handlers work with. */
export interface ApiContext {
  /** What ssh is told to read in place of the person's own configuration; null: nothing else, or there is no ssh. */
  sshConfig: string | null
  store: Store
  gateway: Gateway
  /** What the servers keep for everybody who deploys to them. */
  shared: SharedLocks
  deployer: Deployer
  converger: Converger
  commands: CommandRuns
  copies: FileCopies
  artifacts: ArtifactSource & {
    /** Sizes of an artifact's objects by digest; null where it is not here any more. */
    objects(artifact: Digest): ReadonlyMap<Digest, number> | null
    /** Which objects of a manifest are not here. Remembers the manifest once none is. */
    offer(manifest: Manifest): Promise<Digest[]>
    /** Stores the objects of a pack that a client uploads, each verified. Answers how many. */
    receive(pack: AsyncIterable<Uint8Array>): Promise<number>
    /** The commits between two, the newest first, at most 50. */
    between(config: Config, base: string | null, from: string, to: string): Promise<Revision[]>
    /** The artifact of a revision, where it was built before; null: it was not. */
    known(config: Config, base: string | null, revision: Revision, signal: AbortSignal): Promise<Digest | null>
    /** What a server at one artifact has to be sent for another; null: it cannot be told. */
    transfer(
      from: Digest | null,
      to: Digest,
      signal: AbortSignal,
    ): Promise<{ objects: number; bytes: number; exact: boolean } | null>
    /** What can be deployed. Fetches. */
    history(
      config: Config,
      base: string | null,
      wanted: { branch: string | null; search: string; limit: number },
      signal: AbortSignal,
    ): Promise<{ commits: Revision[]; branches: Named[]; tags: Named[] }>
    /** The files that differ between two commits. */
    files(config: Config, base: string | null, from: string, to: string, signal: AbortSignal): Promise<Files>
  }
  /** Why the agent of a server is not upgraded to the version of this control plane; null: nothing is known to stand in the way. */
  upgradeProblem(serverId: string): string | null
  guesses: Guesses
  receiver: Receiver
  notifier: Notifier
  openBalancer(config: BalancerConfig): Balancer
  /** The built pages; null without any. */
  pages: PagesDirectory | null
  /** Where servers reach the control plane, as its operator says; null: where it is asked. */
  publicUrl: string | null
  controlKey: string
  /** What the address of an environment's badge has to hold. */
  badgeToken(environmentId: string): string
  /** Where it is reached over TCP; null: not at all, or not yet. */
  address: { url: string | null }
  version: string
  /** What is counted as it happens. */
  measured: Measured
  /** How servers' machines are and were, as agents tell it. */
  vitals: Vitals
  /** Whether it shuts down. */
  closing: boolean
  /** Whether /metrics asks for no token. */
  metricsOpen: boolean
  /** How long a request may take to come. */
  requestSeconds: number
  /** What was refused to strangers, for the log. */
  refusals: Refusals
  log: Logger
}
