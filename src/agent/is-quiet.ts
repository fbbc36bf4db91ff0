import type { Journal } from './journal.ts'

/** Whether old releases may go, once it is quiet: of whoever has begun another deployment meanwhile they may be in use, and go after that. */
export async function isQuiet(
  { application, environment }: { application: string; environment: string },
  { journal, quiet }: { journal: Journal; quiet?: () => Promise<boolean> },
): Promise<boolean> {
  if (!quiet) return true
  const epoch = journal.epoch(application, environment)
  return (
    (await quiet()) &&
    journal.epoch(application, environment) === epoch &&
    journal.lock(application, environment, Date.now()) === null
  )
}
