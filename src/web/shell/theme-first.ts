// Runs before anything is painted, so that a page never shows in the other theme first.
const theme = localStorage.getItem('dploy-theme')
if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme

export {}
