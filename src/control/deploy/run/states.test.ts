import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deploymentStateSchema, stepStateSchema } from '../../../protocol/deployment.ts'
import { checkTransition, deploymentTransitions, isCommitted, isFinal, stepTransitions } from './states.ts'

test('every state of a deployment leads to an end', () => {
  for (const state of deploymentStateSchema.options) {
    const seen = new Set<string>()
    const visit = (at: (typeof deploymentStateSchema.options)[number]): boolean => {
      if (isFinal(at)) return true
      if (seen.has(at)) return false
      seen.add(at)
      return deploymentTransitions[at].some((next) => visit(next))
    }
    assert.ok(visit(state), state)
  }
})

test('after the commit point a deployment cannot just be cancelled: what was switched is switched back', () => {
  for (const state of deploymentStateSchema.options) {
    const next: readonly string[] = deploymentTransitions[state]
    if (isCommitted(state)) assert.ok(!next.includes('cancelled'), state)
    else if (!isFinal(state)) assert.ok(next.includes('cancelled') && next.includes('failed'), state)
  }
})

test('nothing follows an end', () => {
  assert.throws(() => checkTransition('succeeded', 'rolling_back'), { code: 'deployment.conflict' })
  assert.throws(() => checkTransition('staging', 'baking'), { code: 'deployment.conflict' })
  checkTransition('staging', 'committing')
})

test('whatever was begun on a server after the commit point can be reverted', () => {
  for (const state of ['draining', 'activating', 'registering', 'switched', 'failed', 'quarantined'] as const) {
    const next: readonly string[] = stepTransitions[state]
    assert.ok(next.includes('reverting'), state)
    // One that cannot be reached on the way back stays where it is, and is told of.
    assert.ok(next.includes('quarantined'), state)
  }
  for (const state of stepStateSchema.options) assert.ok(state in stepTransitions)
})
