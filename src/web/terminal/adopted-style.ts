/**
 * Stands in for the style elements that xterm.js makes, which the content security policy forbids. While it is in the page, its text is a style sheet
 * of the document, made by script, which the policy allows (CSSOM: constructed style sheets). The build puts it in their place (bundle-web.ts).
 */
class AdoptedStyle extends HTMLElement {
  readonly #sheet = new CSSStyleSheet()

  override set textContent(text: string) {
    this.#sheet.replaceSync(text)
  }

  connectedCallback(): void {
    document.adoptedStyleSheets.push(this.#sheet)
  }

  disconnectedCallback(): void {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((sheet) => sheet !== this.#sheet)
  }
}

customElements.define('adopted-style', AdoptedStyle)
