import assert from 'node:assert/strict'
import { test } from 'node:test'
import { errorTable } from './errors.ts'
import { commandsOf } from './fix-commands.ts'

test('a command of a fix ends where prose goes on', () => {
  assert.deepEqual(commandsOf('Read what it printed: dploy logs; or raise service.health.timeout'), ['dploy logs'])
  assert.deepEqual(commandsOf('Wait for it (--wait), or, when nobody runs it any more: dploy unlock'), ['dploy unlock'])
  assert.deepEqual(
    commandsOf('Find out which is which, then: dploy server rotate-key web1, or dploy server unlock web1'),
    ['dploy server rotate-key web1', 'dploy server unlock web1'],
  )
  assert.deepEqual(commandsOf('Bring servers back (dploy status), or lower strategy.min_healthy'), ['dploy status'])
  assert.deepEqual(commandsOf("Run: ssh -t web1 'sudo systemctl stop a; true'"), [
    "ssh -t web1 'sudo systemctl stop a; true'",
  ])
  assert.deepEqual(commandsOf('Look at its errors: dploy logs. To deploy it all the same, set strategy.guard: warn'), [
    'dploy logs',
  ])
  assert.deepEqual(commandsOf('Make a new one: dploy serve prints it'), [])
  assert.deepEqual(commandsOf('Raise build.timeout in dploy.yml'), [])
})

test('no command of the table of errors has prose in it', () => {
  for (const [code, { fix }] of Object.entries(errorTable))
    for (const command of commandsOf(fix))
      assert.match(
        command,
        /^(?:dploy|systemctl|git|ssh|curl)(?: (?:--|[a-z-]+|--[a-z-]+|[A-Z]+))+$/,
        `${code}: ${fix}`,
      )
})
