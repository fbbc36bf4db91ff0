import { writeFileSync } from 'node:fs'
import { configReference } from './reference.ts'
import { configJsonSchema } from './schema.ts'

/** The files under docs/ that are made from the schema of dploy.yml, by name. Rewritten by: node src/protocol/config/docs.ts */
export function configDocs(): Record<string, string> {
  return {
    'dploy.schema.json': `${JSON.stringify({ title: 'dploy.yml', ...configJsonSchema() }, null, 2)}\n`,
    'dploy-yml.md': configReference(),
  }
}

if (import.meta.main) {
  for (const [name, content] of Object.entries(configDocs()))
    writeFileSync(new URL(`../../../docs/${name}`, import.meta.url), content)
}
