import * as z from 'zod'
import type { Route } from './route.ts'

/** The control plane itself: whether it answers, what it can be asked, and what it measures. */
export const controlRoutes = {
  health: {
    method: 'GET',
    path: '/healthz',
    summary: 'Whether the control plane answers',
    access: 'open',
    response: z.object({ status: z.literal('ok'), version: z.string() }),
  },
  ready: {
    method: 'GET',
    path: '/readyz',
    summary: 'Whether the control plane can do its work: 503 while it cannot read its database, or shuts down',
    access: 'open',
    response: z.object({ status: z.literal('ready') }),
  },
  metrics: {
    method: 'GET',
    path: '/metrics',
    summary: 'What it measures, as Prometheus reads it',
    access: 'read',
    response: z.string(),
    stream: 'text',
  },
  openapi: {
    method: 'GET',
    path: '/api/v1/openapi.json',
    summary: 'This description',
    access: 'open',
    etag: true,
    response: z.record(z.string(), z.unknown()),
  },
} as const satisfies Record<string, Route>
