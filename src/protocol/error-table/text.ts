/** What stands in the table of errors for one code. */
export interface ErrorText {
  /** The HTTP status under which the API reports it. */
  status: number
  /** What happened, in general. */
  title: string
  /** What to do next. */
  fix: string
}
