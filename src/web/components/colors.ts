/** A colour of the style sheet as a canvas or a library knows it: `light-dark()` and `var()` are for style sheets alone. */
export function colorOf(element: HTMLElement, name: `--${string}`): string {
  const probe = document.createElement('span')
  probe.style.color = `var(${name})`
  element.append(probe)
  const { color } = getComputedStyle(probe)
  probe.remove()
  return color
}
