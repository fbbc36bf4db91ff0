import * as z from 'zod'

/** How busy and how full a server is. Agents tell it now and then; an agent that does not know of it says nothing. */
export const machineSchema = z.object({
  /** Load average over one minute: how many processes ran or waited to (proc_loadavg(5)). */
  load: z.number().min(0),
  processors: z.number().int().min(1),
  /** Part of the processors' time that was used since the last look, 0 to 1; null at the first, or where the system does not tell. */
  cpu: z.number().min(0).max(1).nullable(),
  /** Bytes; `available`: what programs can get without swapping. */
  memory: z.object({ available: z.number().min(0), total: z.number().min(0) }),
  /** Bytes, on the fullest of the file systems that releases are on. */
  disk: z.object({ free: z.number().min(0), total: z.number().min(0) }),
})
export type MachineFacts = z.infer<typeof machineSchema>

/** What agents ask of the control plane beside a deployment. */
export const machineMethods = {
  /** How the machine is; sent every half minute by an agent that dials itself. A control plane that does not know it is not told again. */
  report: { params: machineSchema, result: z.object({}), event: z.never() },
} as const
