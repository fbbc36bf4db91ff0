import { DployError, type ErrorCode } from '../../protocol/errors.ts'

/** What an error of the SDK carries, as far as it matters here. */
interface SdkError extends Error {
  code?: string
  $response?: unknown
  $metadata?: { httpStatusCode?: number; attempts?: number }
}

const credentials =
  'Renew them where the control plane gets them from (AWS_PROFILE, the environment, the role of its instance), then deploy again'

/** By the name of the error, without `Exception`: what it means for a deployment, and what to do. */
const meanings: Record<string, { code: ErrorCode; fix?: string }> = {
  TargetGroupNotFound: { code: 'balancer.unknown_backend', fix: 'Check balancer.target_groups in dploy.yml' },
  AccessPointNotFound: {
    code: 'balancer.unknown_backend',
    fix: 'Check balancer.classic and balancer.region in dploy.yml',
  },
  InvalidTarget: {
    code: 'balancer.unknown_server',
    fix: 'Check balancer.targets in dploy.yml, and that the instance runs in the VPC of the target group',
  },
  InvalidEndPoint: {
    code: 'balancer.unknown_server',
    fix: 'Check balancer.targets in dploy.yml, and that the instance runs',
  },
  TooManyTargets: { code: 'balancer.refused', fix: 'Ask AWS for a higher quota of targets' },
  TooManyRegistrationsForTargetId: {
    code: 'balancer.refused',
    fix: 'Deregister the instance from target groups that it is not needed in',
  },
  ExpiredToken: { code: 'balancer.refused', fix: credentials },
  RequestExpired: { code: 'balancer.refused', fix: 'Set the clock of the control plane' },
  InvalidClientTokenId: { code: 'balancer.refused', fix: credentials },
  UnrecognizedClient: { code: 'balancer.refused', fix: credentials },
  SignatureDoesNotMatch: { code: 'balancer.refused', fix: 'Check the secret key of the control plane, and its clock' },
  CredentialsProviderError: {
    code: 'balancer.refused',
    fix: 'Give the control plane credentials: the role of its instance, AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in its environment',
  },
  TokenProviderError: { code: 'balancer.refused', fix: 'Sign in again: aws sso login' },
  AccessDenied: {
    code: 'balancer.refused',
    fix: 'Allow it to the control plane; docs/balancers-aws.md has the whole policy',
  },
  UnauthorizedOperation: {
    code: 'balancer.refused',
    fix: 'Allow it to the control plane; docs/balancers-aws.md has the whole policy',
  },
}

const throttles: ReadonlySet<string> = new Set([
  'Throttling',
  'ThrottlingException',
  'RequestLimitExceeded',
  'RequestThrottled',
  'TooManyRequestsException',
  'PriorRequestNotComplete',
])

/** Whether AWS asked to come back later. */
export function isThrottling(error: unknown): boolean {
  return error instanceof Error && throttles.has(error.name)
}

/** Whether the credentials are too old. */
export function isExpired(error: unknown): boolean {
  return error instanceof Error && /^ExpiredToken(Exception)?$/.test(error.name)
}

/** What the SDK threw as an error of dploy: says which call failed, where, and what to do. */
export function failureOf(error: unknown, call: string, where: string): unknown {
  if (!(error instanceof Error) || error instanceof DployError) return error
  const sdk = error as SdkError
  // The SDK adds a word to the code that AWS answers.
  const name = sdk.name.replace(/Exception$/, '')
  const meaning = meanings[name]
  if (meaning)
    return new DployError(meaning.code, `AWS refuses ${call} of the ${where}: ${name}: ${sdk.message}`, {
      where,
      fix: meaning.fix,
      cause: error,
    })
  if (isThrottling(error))
    return new DployError(
      'balancer.refused',
      `AWS throttles ${call} of the ${where}, ${sdk.$metadata?.attempts ?? 1} times in a row: ${sdk.message}`,
      { where, fix: 'Deploy again later; ask AWS for a higher request rate if it comes back', cause: error },
    )
  const status = sdk.$metadata?.httpStatusCode
  if (/region is missing/i.test(sdk.message))
    return new DployError('balancer.refused', 'It is not known in which region of AWS the balancer is', {
      where,
      fix: 'Write balancer.region into dploy.yml',
      cause: error,
    })
  if (status !== undefined && status < 500)
    return new DployError('balancer.refused', `AWS refuses ${call} of the ${where}: ${name}: ${sdk.message}`, {
      where,
      fix: 'See the message of AWS',
      cause: error,
    })
  return new DployError(
    'balancer.unreachable',
    `The API of Elastic Load Balancing does not answer ${call} of the ${where}: ${sdk.code ?? name}: ${sdk.message || 'no connection'}`,
    {
      where,
      fix: 'Check the network of the control plane, and balancer.region and balancer.endpoint in dploy.yml',
      cause: error,
    },
  )
}
