import { managerContract } from './contract-suite.ts'

managerContract({ kind: 'process', skip: process.platform === 'linux' ? false : 'needs /proc', ownsProcesses: true })
