import { FitAddon } from '@xterm/addon-fit'
import { Terminal, type ITheme } from '@xterm/xterm'
import '@xterm/xterm/css/xterm.css'
import type { TerminalSize } from '../../protocol/command-messages.ts'
import { colorOf } from '../components/colors.ts'
import './adopted-style.ts'

/** Lines that can be scrolled back to. */
const scrollback = 10_000
const font = '"JetBrains Mono Variable"'
const fontSize = 13

export interface ScreenOptions {
  box: HTMLElement
  label: string
  /** Id of what says how to leave it by keys. */
  describedBy: string
  screenReader: boolean
  onTyped(bytes: Uint8Array): void
  onResize(size: TerminalSize): void
  /** The keys that leave it were pressed. */
  onLeave(): void
}

/** The terminal as it is shown: xterm.js, in the colours of the page, as large as its box. */
export class Screen implements Disposable {
  readonly #options: ScreenOptions
  readonly #terminal: Terminal
  readonly #fit = new FitAddon()
  readonly #observer: ResizeObserver

  /** Cells are measured once, so the font has to be there first. */
  static async open(options: ScreenOptions): Promise<Screen> {
    await Promise.all(['', 'bold '].map((weight) => document.fonts.load(`${weight}${fontSize}px ${font}`))).catch(
      () => {},
    )
    return new Screen(options)
  }

  private constructor(options: ScreenOptions) {
    this.#options = options
    const { box, label, describedBy, screenReader } = options
    this.#terminal = new Terminal({
      fontFamily: `${font}, ui-monospace, monospace`,
      fontSize,
      fontWeightBold: 700,
      lineHeight: 1.2,
      scrollback,
      cursorBlink: false,
      // What programs colour stays readable in both themes (WCAG 1.4.3).
      minimumContrastRatio: 4.5,
      macOptionIsMeta: true,
      screenReaderMode: screenReader,
      theme: themeOf(box),
    })
    this.#terminal.loadAddon(this.#fit)
    this.#terminal.open(box)
    const { textarea } = this.#terminal
    textarea?.setAttribute('aria-label', label)
    textarea?.setAttribute('aria-describedby', describedBy)
    const encoder = new TextEncoder()
    this.#terminal.onData((text) => options.onTyped(encoder.encode(text)))
    this.#terminal.onBinary((text) => options.onTyped(Uint8Array.from(text, (character) => character.charCodeAt(0))))
    this.#terminal.onResize(({ cols, rows }) => options.onResize({ columns: cols, rows }))
    this.#terminal.attachCustomKeyEventHandler((event) => this.#onKey(event))
    this.#fit.fit()
    this.#observer = new ResizeObserver(() => box.clientWidth > 0 && this.#fit.fit())
    this.#observer.observe(box)
  }

  get size(): TerminalSize {
    return { columns: this.#terminal.cols, rows: this.#terminal.rows }
  }

  /** Resolves when it is drawn. */
  show(data: string | Uint8Array): Promise<void> {
    return new Promise((resolve) => this.#terminal.write(data, resolve))
  }

  /** Types what a button stands for. */
  press(text: string): void {
    this.#terminal.input(text)
    this.focus()
  }

  focus(): void {
    this.#terminal.focus()
  }

  /** Empty, with nothing to scroll back to. */
  clear(): void {
    this.#terminal.reset()
  }

  /** While it takes none, they are the page's again. */
  set takesKeys(takes: boolean) {
    this.#terminal.options.disableStdin = !takes
    this.#terminal.options.cursorInactiveStyle = takes ? 'outline' : 'none'
  }

  set screenReader(on: boolean) {
    this.#terminal.options.screenReaderMode = on
  }

  /** Takes the colours that the page has now. */
  recolor(): void {
    this.#terminal.options.theme = themeOf(this.#options.box)
  }

  [Symbol.dispose](): void {
    this.#observer.disconnect()
    this.#terminal.dispose()
  }

  /** False: the key is not the terminal's. Ctrl-C, Tab and Esc are; so pages need keys of their own to leave it and to copy. */
  #onKey(event: KeyboardEvent): boolean {
    if (this.#terminal.options.disableStdin) return false
    if (event.type !== 'keydown' || !event.ctrlKey || !event.shiftKey) return true
    if (event.code === 'KeyX') this.#options.onLeave()
    else if (event.code === 'KeyC' && this.#terminal.hasSelection())
      void navigator.clipboard?.writeText(this.#terminal.getSelection())
    else return true
    event.preventDefault()
    return false
  }
}

function themeOf(box: HTMLElement): ITheme {
  const color = (name: `--${string}`) => colorOf(box, name)
  const [red, green, yellow, blue, magenta, cyan, text, muted] = [
    color('--bad'),
    color('--good'),
    color('--warn'),
    color('--accent'),
    color('--do-switch'),
    color('--do-register'),
    color('--text'),
    color('--muted'),
  ]
  return {
    background: color('--sunken'),
    foreground: text,
    cursor: blue,
    cursorAccent: color('--sunken'),
    selectionBackground: color('--selection'),
    selectionForeground: text,
    black: text,
    red,
    green,
    yellow,
    blue,
    magenta,
    cyan,
    white: muted,
    brightBlack: muted,
    brightRed: red,
    brightGreen: green,
    brightYellow: yellow,
    brightBlue: blue,
    brightMagenta: magenta,
    brightCyan: cyan,
    brightWhite: text,
    scrollbarSliderBackground: color('--idle-soft'),
    scrollbarSliderHoverBackground: color('--line-strong'),
    scrollbarSliderActiveBackground: color('--line-strong'),
  }
}
