// Runs before anything is painted, so that a page never shows in the other theme first. It is one script of its own: it imports nothing.
const theme = localStorage.getItem('dploy-theme')
if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme

const key = 'dploy-loads'
/** Within so long a page is loaded anew by itself so many times. Milliseconds. */
const [within, times, pause] = [30_000, 4, 500]

// A browser whose network changes in the second in which it loads a page gives up its scripts, and would show nothing at all.
addEventListener(
  'error',
  ({ target }) => {
    if (!(target instanceof HTMLScriptElement || (target instanceof HTMLLinkElement && target.rel === 'stylesheet')))
      return
    const lately = (sessionStorage.getItem(key) ?? '')
      .split(' ')
      .map(Number)
      .filter((at) => at > Date.now() - within)
    if (lately.length >= times) return sayIt()
    sessionStorage.setItem(key, [...lately, Date.now()].join(' '))
    setTimeout(() => location.reload(), pause)
  },
  true,
)

function sayIt(): void {
  const page = document.querySelector('#page')
  if (!page) return addEventListener('DOMContentLoaded', sayIt)
  const again = Object.assign(document.createElement('a'), { href: location.href, textContent: 'Load it again' })
  page.replaceChildren('This page could not be loaded: not all of it came. ', again)
}

export {}
