import { config } from 'zod'

// Zod would compile each check with `new Function` when it is first used: longer than an agent of one deployment uses it.
// This has to be imported before any schema.
config({ jitless: true })
