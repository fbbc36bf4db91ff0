import type { ErrorText } from './text.ts'

/** What dploy.yml, its environments, sources, builds and secrets can meet. */
export const configurationErrors = {
  'config.missing': { status: 400, title: 'There is no dploy.yml here', fix: 'Run: dploy init' },
  'config.exists': {
    status: 409,
    title: 'There is a dploy.yml here already',
    fix: 'Edit it, or move it away and run: dploy init',
  },
  'config.invalid': {
    status: 400,
    title: 'dploy.yml is not valid',
    fix: 'Correct the named line, then run: dploy plan',
  },
  'environment.unknown': { status: 404, title: 'The environment is not known', fix: 'Run: dploy status' },
  'environment.locked': {
    status: 409,
    title: 'Another deployment holds the lock of this environment',
    fix: 'Wait for it (--wait), or, when nobody runs it any more: dploy unlock',
  },
  'environment.no_servers': {
    status: 400,
    title: 'The environment has no servers',
    fix: 'Add servers to dploy.yml under environments',
  },
  'source.unreachable': {
    status: 422,
    title: 'The source repository cannot be read',
    fix: 'Try: git ls-remote REPOSITORY, as the user that runs the control plane',
  },
  'source.revision_unknown': {
    status: 422,
    title: 'The revision does not exist in the source',
    fix: 'Push it, or name a branch, tag or commit that exists',
  },
  'source.unsupported': {
    status: 422,
    title: 'The source uses something that dploy does not support',
    fix: 'See the message',
  },
  'source.unsafe': {
    status: 422,
    title: 'The source holds a file that cannot be shipped safely',
    fix: 'Rename or remove the named file, or leave it out: build.leave_out',
  },
  'build.failed': { status: 422, title: 'The build command failed', fix: 'Read its log: dploy logs --deployment' },
  'build.timeout': { status: 422, title: 'The build command took too long', fix: 'Raise build.timeout in dploy.yml' },
  'build.nothing_to_ship': {
    status: 422,
    title: 'The build left nothing to ship',
    fix: 'Check build.ship in dploy.yml',
  },
  'secret.unknown': { status: 404, title: 'The secret does not exist', fix: 'Run: dploy secret list' },
  'secret.missing': { status: 409, title: 'A secret that the release needs is not set', fix: 'Run: dploy secret set' },
  'secret.unreadable': {
    status: 500,
    title: 'A secret cannot be opened',
    fix: 'Put the file secret-key of the data directory back from a backup, or set the secret again',
  },
  'object.corrupt': {
    status: 502,
    title: 'An object does not have the content its name promises',
    fix: 'It is fetched again by itself; if it comes back, check the disk',
  },
  'object.missing': { status: 502, title: 'An object is missing from the store', fix: 'Deploy the revision again' },
  'path.unsafe': {
    status: 400,
    title: 'A path leaves the directory it belongs in',
    fix: 'Use a path inside the directory',
  },
  'environment.last_serving': {
    status: 409,
    title: 'The last server in traffic would leave it',
    fix: 'Bring another server into traffic: dploy doctor. To accept that nobody serves meanwhile: strategy.downtime: allowed',
  },
  'environment.too_few_healthy': {
    status: 409,
    title: 'Too few servers would stay in traffic',
    fix: 'Bring servers back (dploy status), or lower strategy.min_healthy',
  },
  'environment.groups': {
    status: 409,
    title: 'Two groups of servers cannot take turns here',
    fix: 'Give every server one of the tags of strategy.groups, and the environment a balancer',
  },
} as const satisfies Record<string, ErrorText>
