import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { styleText } from 'node:util'
import stringWidth from 'string-width'
import { cell, columns, columnWidths, fit, flow, printable } from './terminal.ts'

const red = (text: string) => styleText('red', text, { validateStream: false })

suite('text in columns', () => {
  test('what fits stays as it is', () => assert.equal(fit('web1', 4), 'web1'))
  test('what is too long ends in an ellipsis', () => assert.equal(fit('production', 5), 'prod…'))
  test('nothing fits in no columns', () => assert.equal(fit('a', 0), ''))
  test('wide characters take two columns', () => {
    assert.equal(fit('東京サーバー', 6), '東京…')
    assert.equal(cell('東京', 6), '東京  ')
    assert.equal(stringWidth(cell('東京サーバー', 6)), 6)
  })
  test('styles take no columns and are closed when the text is cut', () => {
    assert.equal(stringWidth(fit(red('failed on web1'), 7)), 7)
    assert.equal(fit(red('failed on web1'), 7), `${red('failed')}…`)
  })
  test('texts of other programs cannot move the cursor', () => {
    assert.equal(printable('one\r\ntwo\tthree\u001B[2J\u001B]0;title\u0007\u001B[1A\u0008!'), 'one two three!')
    assert.equal(printable(`\u001Bc${red('x')}\u001B(B\u009B31m`), `${red('x')}31m`)
    assert.equal(printable('a\u001B'), 'a')
    assert.equal(printable('abc\u202Efdp'), 'abcfdp')
  })
  test('a line of ten megabytes is cut at once', () => {
    const began = performance.now()
    assert.equal(fit('東a'.repeat(5_000_000), 7), '東a東a…')
    assert.ok(performance.now() - began < 1_000)
  })
  test('a cell is filled on the side that the alignment says', () => assert.equal(cell('7', 3, 'right'), '  7'))

  test('columns stand under one another, and lines have no trailing space', () => {
    const lines = columns(
      [
        ['web1', '12 KB', 'switched'],
        ['東京', '3 KB', ''],
      ],
      [6, 6, 10],
      { align: ['left', 'right', 'left'] },
    )
    assert.deepEqual(lines, ['web1     12 KB  switched', '東京      3 KB'])
  })
  test('the widest column gives way first', () => {
    const rows = [
      ['web1', 'a text that is much longer than all others'],
      ['web22222', 'b'],
    ]
    assert.deepEqual(columnWidths(rows, 200), [8, 42])
    assert.deepEqual(columnWidths(rows, 30), [8, 20])
    assert.deepEqual(columnWidths(rows, 14), [6, 6])
    assert.deepEqual(columnWidths(rows, 3), [4, 4])
  })
  test('parts flow into lines', () =>
    assert.deepEqual(flow(['one', 'two', 'three', 'a-very-long-part'], ' → ', 11), [
      'one → two →',
      'three →',
      'a-very-lon…',
    ]))
})
