import { parentPort, workerData } from 'node:worker_threads'
import { reportOf } from '../../protocol/errors.ts'
import { scanDirectory, type ScanOptions } from './scan.ts'

/** The thread in which directories are read and hashed, so that the control plane's event loop stays free. */
if (parentPort) {
  try {
    parentPort.postMessage({ ok: true, ...scanDirectory(workerData as ScanOptions) })
  } catch (error) {
    parentPort.postMessage({ ok: false, error: reportOf(error) })
  }
}
