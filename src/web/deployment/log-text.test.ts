import assert from 'node:assert/strict'
import { test } from 'node:test'
import { piecesOf } from './log-pieces.ts'

const text = (line: string) =>
  piecesOf(line)
    .map((piece) => piece.text)
    .join('')

test('a carriage return goes back to the begin of the line, as a terminal does', () => {
  assert.equal(text('\rDownloading ## 20 %\rDownloading ### 25 %\rDownloading #### 30 %'), 'Downloading #### 30 %')
  assert.equal(text('100 of 100\r99'), '990 of 100')
  assert.equal(text('100 of 100\r\u001b[Kdone'), 'done')
  assert.equal(text('a line of Windows\r'), 'a line of Windows')
  assert.deepEqual(piecesOf('\u001b[32m....\r##'), [
    { text: '##..', className: 'a-32', color: undefined, background: undefined },
  ])
})

test('256 and true colours, underline, and what ends them', () => {
  assert.deepEqual(
    piecesOf('\u001b[38;5;196mred\u001b[0m plain').map(({ text, color }) => [text, color]),
    [
      ['red', 'rgb(255 0 0)'],
      [' plain', undefined],
    ],
  )
  assert.deepEqual(
    piecesOf('\u001b[48;2;1;2;3mx').map(({ className, background }) => [className, background]),
    [['', 'rgb(1 2 3)']],
  )
  assert.equal(piecesOf('\u001b[4munder').at(-1)!.className, 'a-underline')
})
