import type { Generated } from 'kysely'

/** The tables, as Kysely sees them. Ids are text, times epoch milliseconds, structured values JSON text: the same on SQLite and PostgreSQL. */
export interface Tables {
  applications: {
    id: string
    name: string
    created_at: number
  }
  environments: {
    id: string
    application_id: string
    name: string
    /** JSON of the whole Config that was applied last. */
    config: string
    /** Directory of that dploy.yml on the control plane's machine, for relative sources; null if it came from elsewhere. */
    base: string | null
    wanted_release_id: string | null
    /** The tag of the servers that serve, where the strategy is blue-green; null: all do. */
    live_group: Generated<string | null>
    /** JSON of what was taken over from servers that were ahead of what was known here; null once a person has looked. */
    taken_over: Generated<string | null>
    /** When the record was written that the servers keep and that is known here. */
    record_at: Generated<number | null>
    /** Grows with each lock that is given out: the fencing token. */
    fence: number
    created_at: number
    updated_at: number
    /** That dploy.yml as it was sent, how it was called, and who sent it; null: it came before these were kept. */
    config_text: Generated<string | null>
    config_file: Generated<string | null>
    config_by: Generated<string | null>
  }
  /** What a server was last seen to run in an environment. */
  sightings: {
    environment_id: string
    server_id: string
    seen_at: number
    release_number: number | null
    /** A ServiceState, JSON. */
    service: string
  }
  servers: {
    id: string
    name: string
    /** SPKI PEM of the agent's Ed25519 key; null until an agent joined. */
    public_key: string | null
    /** Facts of the last hello, JSON. */
    facts: string | null
    last_seen_at: number | null
    created_at: number
    /** The agent's key while it is being replaced: takes the place of the other once the agent has signed with it. */
    next_public_key: Generated<string | null>
    /** Two machines hold its key: both are refused from this time on, until a person decides. */
    locked_at: Generated<number | null>
    /** A person keeps it out of traffic. */
    kept_out_since: Generated<number | null>
    kept_out_by: Generated<string | null>
    /** Its row stays for the history. */
    removed_at: Generated<number | null>
  }
  environment_servers: {
    environment_id: string
    server_id: string
    position: number
    address: string | null
    port: number | null
    tags: string
    /** 1: it came with a join token, and no dploy.yml lists it. */
    added: Generated<number>
  }
  artifacts: {
    digest: string
    created_at: number
  }
  releases: {
    id: string
    environment_id: string
    number: number
    artifact: string
    /** JSON of ReleaseSpec. */
    spec: string
    created_at: number
  }
  deployments: {
    id: string
    environment_id: string
    number: number
    kind: string
    state: string
    /** JSON: what was asked for. */
    request: string
    /** JSON of the Config that this deployment follows. */
    config: string
    base: string | null
    revision: string | null
    release_id: string | null
    from_release_id: string | null
    plan: string | null
    failure: string | null
    requested_by: string
    /** Fencing token under which it runs; writes with a lower one are refused. */
    fence: number
    cancel_requested: number
    created_at: number
    started_at: number | null
    finished_at: number | null
    /** Who asked for it: the same for the same person, however they ask. */
    requester: Generated<string | null>
    /** Who asked it to pause before its next batch. */
    pause_by: Generated<string | null>
    /** JSON of Waiting while it waits for a person in the middle. */
    waiting: Generated<string | null>
    /** The last batch that a person let begin. */
    passed: Generated<number>
    /** `waiting`, `approve`, `refuse`, `expired`; null: it needs no approval. */
    approval: Generated<string | null>
    approval_expires_at: Generated<number | null>
    approval_by: Generated<string | null>
    approval_at: Generated<number | null>
    approval_note: Generated<string | null>
  }
  steps: {
    deployment_id: string
    server_id: string
    batch: number | null
    state: string
    spans: string
    bytes: number
    objects: number
    failure: string | null
  }
  events: {
    seq: Generated<number>
    deployment_id: string
    at: number
    server_id: string | null
    data: string
    /** When it was stored; null: before that was kept. */
    stored_at: Generated<number | null>
  }
  receipts: {
    deployment_id: string
    receipt: string
    /** JSON of what lists show of its traffic. */
    traffic: Generated<string | null>
  }
  locks: {
    environment_id: string
    deployment_id: string
    holder: string
    fence: number
    acquired_at: number
    expires_at: number
  }
  secrets: {
    id: string
    environment_id: string
    name: string
    /** AES-256-GCM: nonce, text and tag in base64. */
    sealed: string
    set_by: string
    created_at: number
    /** Null: the value that the next release gets. */
    replaced_at: number | null
  }
  runs: {
    id: string
    environment_id: string
    /** `exec`, `shell` or `copy`. */
    kind: string
    /** As a person would type it. */
    command: string
    requested_by: string
    /** JSON of CommandOutcome[]; empty until it has ended. */
    outcomes: string
    started_at: number
    finished_at: number | null
  }
  tokens: {
    id: string
    /** `api` or `join`. */
    kind: string
    /** SHA-256 of the token, hex. */
    hash: string
    note: string
    /** How often a join token may still be used; null: any number of times. */
    uses_left: number | null
    expires_at: number | null
    created_at: number
    /** JSON of the environments' ids that a join token makes servers members of; null: of none. */
    environments: Generated<string | null>
    /** JSON of the tags that they get there. */
    tags: Generated<string | null>
    /** The only name under which it lets join; null: any. */
    server: Generated<string | null>
    /** What an API token may: read, deploy, administer. Null: administer, as all could before there were scopes. */
    scope: Generated<string | null>
    /** Whose an API token is; null: made on the control plane's machine. */
    person_id: Generated<string | null>
    used_at: Generated<number | null>
  }
  people: {
    id: string
    /** In lower case. */
    email: string
    name: string
    /** argon2id as a PHC string; null: none chosen yet. */
    password: string | null
    created_at: number
    seen_at: number | null
  }
  grants: {
    person_id: string
    /** Null: everywhere. */
    environment_id: string | null
    role: string
  }
  sessions: {
    id: string
    person_id: string
    /** SHA-256 of what the cookie holds, hex. */
    hash: string
    /** The one before, which a request under way may still carry. */
    previous_hash: string | null
    /** Until when that is taken; null: until the new one was seen. */
    previous_until: number | null
    rotated_at: number
    created_at: number
    seen_at: number
    expires_at: number
    address: string
    browser: string
  }
  /** One-use links. */
  links: {
    hash: string
    /** `setup` or `invitation`. */
    kind: string
    person_id: string | null
    expires_at: number
  }
  audit: {
    seq: Generated<number>
    at: number
    who: string
    kind: string
    address: string
    action: string
    environment_id: string | null
    application: string | null
    environment: string | null
    subject: string | null
    outcome: string
    problem: string | null
    /** JSON. */
    before: string | null
    after: string | null
  }
  webhooks: {
    id: string
    /** `github`, `gitlab`, `bitbucket` or `gitea`. */
    service: string
    note: string
    /** Name of the only application that it is for; null: of all. */
    application: string | null
    /** JSON of the names of the only environments that it is for; null: of all. */
    environments: string | null
    /** Its secret, sealed for its id. */
    sealed: string
    created_at: number
    created_by: string
  }
  /** What services sent, bounded per webhook. */
  deliveries: {
    id: string
    webhook_id: string
    /** As the service numbers it. */
    delivery: string
    event: string
    received_at: number
    /** `waiting`, `done`, `ignored`, `failed`. */
    state: string
    reason: string
    /** JSON of the Push; null: it tells of none. */
    push: string | null
    /** JSON of DeliveryResult[]. */
    results: string
  }
  /** Where an environment's notifications go: an entry of `notify`, as it was written then. */
  notify_targets: {
    id: string
    environment_id: string
    /** Digest of the entry: a changed one is another target. */
    key: string
    name: string
    /** Of the first failure after the last success. */
    failing_since: number | null
    disabled_at: number | null
    /** Of the last failure. */
    reason: string | null
    delivered_at: number | null
  }
  /** Notifications: stored with their cause, sent after. */
  outbox: {
    /** Sent along, the same each time it is tried. */
    id: string
    target_id: string
    /** Id of the deployment or server. */
    about: string
    moment: string
    /** JSON of Notification. */
    payload: string
    /** `waiting`, `sent`, `given_up`. */
    state: string
    attempts: number
    next_at: number
    problem: string | null
    created_at: number
    ended_at: number | null
  }
  /** One row: the last event that was made notifications of. */
  notify_cursor: {
    id: number
    seq: number
  }
  /** Servers of which it was told that they are gone. */
  gone_servers: {
    server_id: string
    since: number
  }
  answers: {
    id: string
    /** Who asked, and for what. */
    caller: string
    /** The Idempotency-Key. */
    key: string
    /** Digest of the request. */
    request: string
    holder: string
    /** The answer, sealed; null while it is worked on. */
    sealed: string | null
    created_at: number
  }
}
