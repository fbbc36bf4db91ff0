import { configurationErrors } from './error-table/configuration.ts'
import { deploymentsErrors } from './error-table/deployments.ts'
import { requestsErrors } from './error-table/requests.ts'
import { serversErrors } from './error-table/servers.ts'

/** Every error that dploy reports, by its stable code. */
export const errorTable = {
  ...configurationErrors,
  ...requestsErrors,
  ...serversErrors,
  ...deploymentsErrors,
} as const

export type ErrorCode = keyof typeof errorTable

/** The form in which an error crosses a boundary: between agent and control plane, in the API, in the database. */
export interface ErrorReport {
  code: ErrorCode
  message: string
  /** The next thing to do. Falls back to the table's text. */
  fix: string
  /** Where it happened: a server by name, a file and line, an address. */
  where?: string | undefined
}

/** An error with a stable code; `message` says what happened, `where` names the server or file, `fix` the next command. */
export class DployError extends Error {
  readonly code: ErrorCode
  readonly fix: string
  readonly where: string | undefined

  constructor(
    code: ErrorCode,
    message?: string,
    options: { where?: string | undefined; fix?: string | undefined; cause?: unknown } = {},
  ) {
    super(message ?? errorTable[code].title, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'DployError'
    this.code = code
    this.where = options.where
    this.fix = options.fix ?? errorTable[code].fix
  }

  toJSON(): ErrorReport {
    return {
      code: this.code,
      message: this.message,
      fix: this.fix,
      ...(this.where === undefined ? {} : { where: this.where }),
    }
  }

  static from(report: ErrorReport): DployError {
    const code = report.code in errorTable ? report.code : 'internal'
    return new DployError(code, report.message, { fix: report.fix, where: report.where })
  }
}

/** Any thrown value as a report; what has no code of ours becomes `internal` with its own message. */
export function reportOf(error: unknown, where?: string): ErrorReport {
  if (error instanceof DployError) {
    const report = error.toJSON()
    return where !== undefined && report.where === undefined ? { ...report, where } : report
  }
  const message = error instanceof Error ? error.message : String(error)
  return { code: 'internal', message, fix: errorTable.internal.fix, ...(where === undefined ? {} : { where }) }
}
