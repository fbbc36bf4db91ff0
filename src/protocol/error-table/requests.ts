import type { ErrorText } from './text.ts'

/** What a request to the API, a sign-in, a token or a webhook can meet. */
export const requestsErrors = {
  'request.invalid': { status: 400, title: 'The request is not valid', fix: 'Correct the named field' },
  'request.method': {
    status: 405,
    title: 'This path does not take this method',
    fix: 'Use one of the methods that the header Allow names',
  },
  'request.type': {
    status: 415,
    title: 'The body has a type that is not taken here',
    fix: 'Send JSON, with Content-Type: application/json',
  },
  'request.too_large': { status: 413, title: 'The body is larger than what is taken', fix: 'Send less at once' },
  'request.header_too_large': {
    status: 431,
    title: 'Address and headers are longer than what is taken',
    fix: 'Shorten the address, or send fewer headers',
  },
  'request.timeout': { status: 408, title: 'The request did not arrive whole in time', fix: 'Send it again' },
  'idempotency.other_request': {
    status: 422,
    title: 'This Idempotency-Key came with another request before',
    fix: 'Use a new key for each new request',
  },
  'idempotency.under_way': {
    status: 409,
    title: 'The request with this Idempotency-Key is under way',
    fix: 'Wait for it, then ask again with the same key',
  },
  'idempotency.cut_off': {
    status: 409,
    title: 'The control plane ended while it worked on the request with this Idempotency-Key',
    fix: 'Look whether it was done, then ask with a new key if not',
  },
  not_ready: { status: 503, title: 'The control plane cannot answer now', fix: 'Wait, then try again' },
  not_found: { status: 404, title: 'There is no such thing', fix: 'Run: dploy status' },
  unauthorized: {
    status: 401,
    title: 'The request carries no valid token',
    fix: 'Sign in, or set DPLOY_TOKEN to a token that dploy token create printed',
  },
  forbidden: {
    status: 403,
    title: 'You may not do this',
    fix: 'Ask an administrator for the role it needs: dploy person role',
  },
  'request.cross_site': {
    status: 403,
    title: 'The request comes from another site',
    fix: 'Open the pages at the address at which dploy serves them',
  },
  'sign_in.failed': {
    status: 401,
    title: 'Address or password is wrong',
    fix: 'Try again, or ask an administrator for a new link: dploy person invite',
  },
  'sign_in.too_many': { status: 429, title: 'There were too many tries to sign in', fix: 'Wait, then try again' },
  'link.invalid': {
    status: 403,
    title: 'This link was used already, or has expired',
    fix: 'Ask an administrator for a new one: dploy person invite; the first one is printed by dploy serve',
  },
  'person.unknown': { status: 404, title: 'The person is not known', fix: 'Run: dploy person list' },
  'person.exists': { status: 409, title: 'There is such a person already', fix: 'Run: dploy person list' },
  'person.last_administrator': {
    status: 409,
    title: 'Nobody would be administrator any more',
    fix: 'Make somebody else administrator first: dploy person role',
  },
  'webhook.unknown': { status: 404, title: 'The webhook is not known', fix: 'Run: dploy webhook list' },
  'webhook.forged': {
    status: 401,
    title: 'A message to a webhook is not signed with its secret',
    fix: 'Give the service the secret that dploy webhook add printed, or make a new webhook',
  },
  'notification.unknown': { status: 404, title: 'There is no such entry under notify', fix: 'Run: dploy notify list' },
  'notification.undelivered': {
    status: 502,
    title: 'A notification did not arrive',
    fix: 'Correct the entry under notify in dploy.yml, or its secret, then run: dploy notify test',
  },
  'token.unknown': { status: 404, title: 'The token is not known', fix: 'Run: dploy token list' },
  'backup.no_data': {
    status: 404,
    title: 'There is nothing to back up',
    fix: 'Name what dploy serve was given: dploy backup FILE --data DIRECTORY',
  },
  'backup.damaged': {
    status: 422,
    title: 'A backup cannot be read',
    fix: 'Take another backup; nothing was restored',
  },
  'backup.passphrase': {
    status: 422,
    title: 'The passphrase is not that of the backup',
    fix: 'Give the right one: dploy restore FILE --passphrase-file FILE; nothing was restored',
  },
  'restore.not_empty': {
    status: 409,
    title: 'There is data already',
    fix: 'Name another directory with --data, or add --force: what is there is kept beside',
  },
  internal: { status: 500, title: 'Something unexpected happened', fix: 'Please report it with the text of the error' },
} as const satisfies Record<string, ErrorText>
