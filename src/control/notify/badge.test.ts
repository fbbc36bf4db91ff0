import assert from 'node:assert/strict'
import { test } from 'node:test'
import { badgeSvg } from './badge.ts'

test('a badge says what the environment runs and how the last deployment ended', () => {
  const text = (...args: Parameters<typeof badgeSvg>) => /<title>(.*?)<\/title>/.exec(badgeSvg(...args))![1]
  assert.equal(text({ environment: 'shop production', release: 41, last: 'succeeded' }), 'shop production: release 41')
  assert.equal(
    text({ environment: 'shop production', release: 40, last: 'rolled_back' }),
    'shop production: release 40, rolled back',
  )
  assert.equal(
    text({ environment: 'shop production', release: 40, last: 'activating' }),
    'shop production: release 40, deploying',
  )
  assert.equal(text({ environment: 'shop production', release: null, last: null }), 'shop production: nothing deployed')
})

test('nothing in a name is taken for mark-up', () => {
  const svg = badgeSvg({ environment: `<script>alert("1")</script>&'\u0000`, release: 1, last: 'succeeded' })
  assert.ok(!svg.includes('<script'))
  assert.ok(!svg.includes('\u0000'))
  assert.match(svg, /aria-label="&lt;script&gt;alert\(&quot;1&quot;\)&lt;\/script&gt;&amp;&#39;: release 1"/)
  assert.equal(svg.match(/</g)!.length, svg.match(/>/g)!.length)
})
