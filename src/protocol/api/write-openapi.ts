import { writeFileSync } from 'node:fs'
import { version } from '../product-version.ts'
import { openApiDocument } from './openapi.ts'

/** Writes docs/openapi.json anew. A command for who changes the contract. */
writeFileSync(
  new URL('../../../docs/openapi.json', import.meta.url),
  `${JSON.stringify(openApiDocument(version()), null, 1)}\n`,
)
