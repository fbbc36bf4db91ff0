/** The style of the API's reference page: a file of its own, as the content security policy wants it. */
export const referenceStyle = `:root {
  color-scheme: light dark;
  --ground: #fff; --raised: #f6f7f9; --line: #dfe2e8; --text: #1b1f27; --quiet: #5a6372; --link: #1f5fbf;
  --get: #1d6b3c; --post: #1f5fbf; --put: #85520a; --delete: #b3261e;
}
@media (prefers-color-scheme: dark) {
  :root { --ground: #14161b; --raised: #1c1f26; --line: #323743; --text: #e8eaee; --quiet: #a0a8b6; --link: #8ab4f8; --get: #7fd3a0; --post: #8ab4f8; --put: #e3b567; --delete: #f2a19b }
}
* { box-sizing: border-box }
html { scroll-padding-top: 1rem }
body { margin: 0; background: var(--ground); color: var(--text); font: 16px/1.55 system-ui, sans-serif; display: grid; grid-template-columns: 17rem minmax(0, 1fr) }
a { color: var(--link) }
a:focus-visible, summary:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; border-radius: 3px }
nav { position: sticky; top: 0; height: 100vh; overflow-y: auto; padding: 1.25rem 1rem 2rem 1.25rem; border-right: 1px solid var(--line); background: var(--raised); font-size: .875rem }
nav h2 { margin: 1.1rem 0 .25rem; font-size: .8125rem; color: var(--quiet) }
nav ul { list-style: none; margin: 0; padding: 0 }
nav a { display: block; padding: .2rem .25rem; color: inherit; text-decoration: none; overflow-wrap: anywhere }
nav a:hover { text-decoration: underline }
main { padding: 1.75rem clamp(1rem, 4vw, 3rem) 5rem; max-width: 62rem }
h1 { margin: 0 0 .5rem; font-size: 1.75rem; line-height: 1.2 }
h2 { margin: 3rem 0 .25rem; font-size: 1.3rem }
h2::first-letter { text-transform: uppercase }
section > p, header p { margin: .25rem 0 .75rem; max-width: 46rem }
article { margin: 1rem 0; border: 1px solid var(--line); border-radius: 8px }
article > header { padding: .75rem 1rem; background: var(--raised); border-radius: 8px 8px 0 0; border-bottom: 1px solid var(--line) }
article h3 { margin: 0; font-size: 1rem; font-weight: 600 }
article .call { margin: .25rem 0 0; font-size: .875rem; overflow-wrap: anywhere }
article .body { padding: .25rem 1rem 1rem }
article p { max-width: 46rem }
code, pre, .call { font-family: ui-monospace, "JetBrains Mono", Menlo, Consolas, monospace }
code { font-size: .875em }
.method { font-weight: 700 }
.get { color: var(--get) } .post { color: var(--post) } .put { color: var(--put) } .delete { color: var(--delete) }
h4 { margin: 1rem 0 .25rem; font-size: .875rem; color: var(--quiet); font-weight: 600 }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-size: .875rem }
th { text-align: left; font-weight: 600; color: var(--quiet) }
th, td { padding: .3rem .75rem .3rem 0; border-top: 1px solid var(--line); vertical-align: top }
td:nth-child(4) { min-width: 14rem }
tr:first-child th { border-top: 0 }
pre { margin: .25rem 0 0; padding: .75rem 1rem; background: var(--raised); border: 1px solid var(--line); border-radius: 6px; overflow-x: auto; font-size: .8125rem; line-height: 1.5 }
details { margin-top: .75rem }
summary { cursor: pointer; color: var(--quiet); font-size: .875rem; padding: .25rem 0 }
.quiet { color: var(--quiet) }
@media (max-width: 52rem) {
  body { display: block }
  nav { position: static; height: auto; border-right: 0; border-bottom: 1px solid var(--line) }
  nav ul { columns: 2 }
}
`
