import assert from 'node:assert/strict'
import { test } from 'node:test'
import { markDown, readUpstreams } from './upstream-file.ts'

const text = `# upstream shop { server 9.9.9.9; }
upstream "shop" {
    zone shop 64k;
    least_conn;
    server 10.0.0.1:3000 weight=2; # web1 rack 4
    server 10.0.0.2:3000 max_fails=3   down  fail_timeout=5s;
    server web3.example.com backup;# web3
    # server 10.0.0.4:3000;
    server [::1]:3005
        weight=3
        ; keepalive 16;
    # web5
}
upstream api { server 10.0.0.1:4000 down; }
server { listen 80; location / { proxy_pass http://shop$uri; } }
map $a \${b} { "x;{" 1; 'server' 2; }
`

test('the servers of each upstream are found, with their comments, and comments and other blocks are not', () => {
  const upstreams = readUpstreams(text)
  assert.deepEqual([...upstreams.keys()], ['shop', 'api'])
  assert.deepEqual(
    upstreams.get('shop')!.map(({ address, host, down, comment }) => [address, host, down, comment]),
    [
      ['10.0.0.1:3000', '10.0.0.1', false, 'web1'],
      ['10.0.0.2:3000', '10.0.0.2', true, null],
      ['web3.example.com:80', 'web3.example.com', false, 'web3'],
      ['[::1]:3005', '::1', false, null],
    ],
  )
  assert.deepEqual(
    upstreams.get('api')!.map(({ address, down }) => [address, down]),
    [['10.0.0.1:4000', true]],
  )
})

test('only the word down changes, and taking it away gives back what was written', () => {
  const shop = readUpstreams(text).get('shop')!
  assert.equal(
    markDown(text, shop, (entry) => entry.down),
    text,
  )
  const all = markDown(text, shop, () => true)
  assert.match(all, /server 10\.0\.0\.1:3000 weight=2 down; # web1/)
  assert.match(all, /weight=3 down\n {8}; keepalive 16;/)
  assert.deepEqual(
    readUpstreams(all)
      .get('shop')!
      .map(({ down }) => down),
    [true, true, true, true],
  )
  const none = markDown(all, readUpstreams(all).get('shop')!, () => false)
  assert.equal(none, text.replace('   down  fail', '    fail'))
  assert.equal(readUpstreams(none).get('api')![0]!.down, true)
})
