import { useEffect, useRef } from 'react'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { useDark } from '../shell/theme.ts'
import type { TrafficPoint } from './live-deployment.ts'

const height = 96

/** Where there is less room beside the chart, the scale of milliseconds is left out. Pixels. */
const scaleWidth = 48

/** Requests a second over the deployment's time axis; failed and stalled ones as bars from the ground; the slowest answer as a line of its own scale. */
export function TrafficChart({
  points,
  exact,
  end,
  version,
  gutter,
  right,
}: {
  points: readonly TrafficPoint[]
  exact: boolean
  end: number
  version: number
  gutter: number
  right: number
}) {
  const box = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | null>(null)
  const range = useRef(end)
  range.current = end
  const dark = useDark()

  useEffect(() => {
    const element = box.current!
    const style = getComputedStyle(element)
    const color = (name: string) => resolve(element, style.getPropertyValue(name))
    const bars = uPlot.paths.bars!({ size: [1, 14], align: 1, gap: 1 })
    const made = new uPlot(
      {
        width: element.clientWidth,
        height,
        padding: [8, right >= scaleWidth ? right - scaleWidth : right, 8, 0],
        cursor: { show: false },
        legend: { show: false },
        scales: {
          x: { time: false, range: () => [0, range.current] },
          y: { range: (_, __, most) => [0, Math.max(10, most * 1.15)] },
          ms: { range: (_, __, most) => [0, Math.max(20, most * 1.15)] },
        },
        axes: [
          { show: false },
          {
            size: gutter,
            gap: 6,
            stroke: color('--muted'),
            font: `11px ${style.fontFamily}`,
            grid: { stroke: color('--line'), width: 1 },
            ticks: { show: false },
            values: (_, values) => values.map((value) => `${value}/s`),
            space: 30,
          },
          ...(right >= scaleWidth
            ? [
                {
                  scale: 'ms',
                  side: 1 as const,
                  size: scaleWidth,
                  gap: 6,
                  stroke: color('--muted'),
                  font: `11px ${style.fontFamily}`,
                  grid: { show: false },
                  ticks: { show: false },
                  values: (_: uPlot, values: number[]) => values.map((value) => `${value} ms`),
                  space: 30,
                },
              ]
            : []),
        ],
        series: [
          {},
          {
            label: 'requests',
            stroke: color('--accent'),
            width: 1.5,
            fill: color('--accent-soft'),
            points: { show: false },
            paths: uPlot.paths.stepped!({ align: 1 }),
          },
          { label: 'stalled', stroke: color('--warn'), fill: color('--warn'), paths: bars, points: { show: false } },
          { label: 'failed', stroke: color('--bad'), fill: color('--bad'), paths: bars, points: { show: false } },
          {
            label: 'slowest',
            scale: 'ms',
            stroke: color('--muted'),
            width: 1,
            dash: [3, 3],
            points: { show: false },
            paths: uPlot.paths.stepped!({ align: 1 }),
          },
        ],
      },
      dataOf([], true),
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
  }, [dark, gutter, right])

  useEffect(
    () => plot.current?.setData(dataOf(points, exact)),
    [points, exact, points.length, end, version, dark, gutter, right],
  )

  return <div ref={box} className="traffic-chart" aria-hidden="true" />
}

/** `exact`: each point knows its own slowest; else the slowest so far, which is the point's own where it grew. */
function dataOf(points: readonly TrafficPoint[], exact: boolean): uPlot.AlignedData {
  const x: number[] = []
  const seen: (number | null)[] = []
  const stalled: (number | null)[] = []
  const failed: (number | null)[] = []
  const slowest: (number | null)[] = []
  let before = 0
  for (const point of points) {
    const perSecond = 1_000 / point.every
    x.push(point.at)
    seen.push(point.seen * perSecond)
    slowest.push(exact || point.slowestMs > before ? point.slowestMs : null)
    before = point.slowestMs
    failed.push(point.failed > 0 ? point.failed * perSecond : null)
    stalled.push(point.stalled > 0 ? (point.stalled + point.failed) * perSecond : null)
  }
  const last = points.at(-1)
  if (last) {
    x.push(last.at + last.every)
    seen.push(seen.at(-1)!)
    failed.push(null)
    stalled.push(null)
    slowest.push(slowest.at(-1) ?? null)
  }
  return [x, seen, stalled, failed, slowest]
}

/** A colour as the canvas knows it: `light-dark()` is for style sheets alone. */
function resolve(element: HTMLElement, value: string): string {
  const probe = document.createElement('span')
  probe.style.color = value
  element.append(probe)
  const { color } = getComputedStyle(probe)
  probe.remove()
  return color
}
