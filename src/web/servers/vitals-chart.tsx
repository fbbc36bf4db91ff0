import { useEffect, useRef } from 'react'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import type { ServerVitals } from '../../protocol/api/vitals.ts'
import { colorOf } from '../components/colors.ts'
import { useDark } from '../shell/theme.ts'
import { percent } from './rows.ts'

const height = 140
/** Seconds. */
const hour = 3_600
const lines = [
  { key: 'cpu', text: 'Processors', color: '--accent' },
  { key: 'memory', text: 'Memory', color: '--do-switch' },
  { key: 'disk', text: 'Disk', color: '--do-register' },
] as const

/** The last hour of one server: parts of processors, memory and disk in use. */
export function VitalsChart({ vitals }: { vitals: ServerVitals }) {
  const box = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | null>(null)
  const dark = useDark()
  useEffect(() => {
    const element = box.current!
    const { fontFamily } = getComputedStyle(element)
    const axis = {
      stroke: colorOf(element, '--muted'),
      font: `11px ${fontFamily}`,
      grid: { stroke: colorOf(element, '--line'), width: 1 },
      ticks: { show: false },
    }
    const made = new uPlot(
      {
        width: element.clientWidth,
        height,
        padding: [8, 8, 0, 0],
        cursor: { show: false },
        legend: { show: false },
        scales: { x: { time: true, range: (_, __, last) => [last - hour, last] }, y: { range: () => [0, 1] } },
        axes: [
          {
            ...axis,
            size: 22,
            values: (_, times) =>
              times.map((time) =>
                new Date(time * 1_000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }),
              ),
          },
          { ...axis, size: 44, values: (_, values) => values.map(percent), space: 30 },
        ],
        series: [
          {},
          ...lines.map(({ color }) => ({ stroke: colorOf(element, color), width: 1.5, points: { show: false } })),
        ],
      },
      [[], [], [], []],
      element,
    )
    plot.current = made
    const observer = new ResizeObserver(
      () => element.clientWidth > 0 && made.setSize({ width: element.clientWidth, height }),
    )
    observer.observe(element)
    return () => {
      observer.disconnect()
      made.destroy()
      plot.current = null
    }
  }, [dark])
  useEffect(
    () => plot.current?.setData([vitals.at.map((at) => at / 1_000), vitals.cpu, vitals.memory, vitals.disk]),
    [vitals, dark],
  )
  return (
    <figure className="vitals">
      <figcaption className="legend">
        {lines.map(({ key, text, color }) => (
          <span key={key}>
            <i style={{ background: `var(${color})` }} />
            {text} <span className="number">{vitals[key].at(-1) == null ? '–' : percent(vitals[key].at(-1)!)}</span>
          </span>
        ))}
      </figcaption>
      <div ref={box} className="vitals-chart" aria-hidden="true" />
    </figure>
  )
}
