import { useEffect, useRef } from 'react'
import uPlot from 'uplot'
import { colorOf } from '../components/colors.ts'
import { useDark } from '../shell/theme.ts'

const width = 64
const height = 20

/** Parts (0 to 1) over time as a small line; the number beside it says what it is now. */
export function Sparkline({ at, parts }: { at: readonly number[]; parts: readonly (number | null)[] }) {
  const box = useRef<HTMLSpanElement>(null)
  const plot = useRef<uPlot | null>(null)
  const dark = useDark()
  useEffect(() => {
    const element = box.current!
    const made = new uPlot(
      {
        width,
        height,
        padding: [2, 0, 2, 0],
        cursor: { show: false },
        legend: { show: false },
        axes: [{ show: false }, { show: false }],
        scales: { x: { time: false }, y: { range: () => [0, 1] } },
        series: [
          {},
          {
            stroke: colorOf(element, '--accent'),
            fill: colorOf(element, '--accent-soft'),
            width: 1.25,
            points: { show: false },
          },
        ],
      },
      [[], []],
      element,
    )
    plot.current = made
    return () => {
      made.destroy()
      plot.current = null
    }
  }, [dark])
  useEffect(() => plot.current?.setData([[...at], [...parts]]), [at, parts, dark])
  return <span ref={box} className="sparkline" aria-hidden="true" />
}
