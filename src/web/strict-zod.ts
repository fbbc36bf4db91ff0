import { config } from 'zod'

// Zod would try to compile its checks with `new Function`, which the pages' content security policy forbids. This has to be
// imported before any schema.
config({ jitless: true })
