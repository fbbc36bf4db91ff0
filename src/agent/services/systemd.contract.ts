import { managerContract } from './contract-suite.ts'
import { systemdIsHere } from './systemd.ts'

// No name of a test: it writes units, so it runs only on a server of a fleet, started by e2e/services/systemd.test.ts.
managerContract({
  kind: 'systemd',
  skip: systemdIsHere() ? false : 'needs systemd as PID 1, and root',
  ownsProcesses: true,
})
