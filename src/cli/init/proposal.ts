/** A value and why it is proposed; the reason becomes the comment above it. */
export interface Explained<T> {
  value: T
  why: string
}

/** How a kind of application is built and run: what a recogniser finds out. */
export interface Stack {
  /** For people: `Node with Express`. */
  name: string
  build?: {
    command?: Explained<string>
    ship?: Explained<string[]>
    leaveOut?: Explained<string[]>
    cache?: Explained<string[]>
    variables?: Record<string, Explained<string>>
  }
  shared?: Explained<string>[]
  service?: {
    /** Absent when the program is somebody else's (`restart`). */
    command?: Explained<string>
    port: Explained<number>
    health: Explained<string>
    /** The Host header of the health check, where the application refuses others. */
    host?: Explained<string>
    /** Makes a program that dploy did not start (php-fpm) use the new release. */
    restart?: Explained<string>
    status?: Explained<string>
    /** How a new release could take over beside the old one, by what the application can do. A proposal only: two run at the same time then. */
    handover?: Explained<'socket' | 'port'>
  }
  afterStage?: Explained<string>
  releaseCommand?: Explained<string>
  variables?: Record<string, Explained<string>>
  /** What the person has to check or to do. */
  notes: string[]
}

/** What `dploy init` proposes for a directory. */
export interface Proposal extends Stack {
  application: string
  /** Null: the repository in which dploy.yml stands. */
  source: Explained<{ repository: string; subfolder: string | null }> | null
  branch: string | null
}
