import { readFileSync } from 'node:fs'

/** How long the metadata service may take, for all of it. Milliseconds; it answers in a few. */
const patience = 1_000
const publicEndpoint = 'http://169.254.169.254'

/**
 * The id of the EC2 instance that this runs on, from its metadata service, version 2 (EC2 user guide, "Use the Instance
 * Metadata Service to access instance metadata"). Null where there is none. Other machines are not made to wait: the
 * service is asked only where the firmware says that this is EC2, or AWS_EC2_METADATA_SERVICE_ENDPOINT names it.
 */
export async function readInstanceId(environment: NodeJS.ProcessEnv = process.env): Promise<string | null> {
  if (environment['AWS_EC2_METADATA_DISABLED']?.toLowerCase() === 'true') return null
  const named = environment['AWS_EC2_METADATA_SERVICE_ENDPOINT']
  if (!named && !isEc2()) return null
  const signal = AbortSignal.timeout(patience)
  try {
    const endpoint = named || publicEndpoint
    const token = await ask(new URL('/latest/api/token', endpoint), {
      method: 'PUT',
      headers: { 'x-aws-ec2-metadata-token-ttl-seconds': '60' },
      signal,
    })
    const id = await ask(new URL('/latest/meta-data/instance-id', endpoint), {
      headers: { 'x-aws-ec2-metadata-token': token },
      signal,
    })
    return /^i-[0-9a-f]{8,17}$/.test(id) ? id : null
  } catch {
    return null
  }
}

async function ask(url: URL, init: RequestInit): Promise<string> {
  const response = await fetch(url, { ...init, redirect: 'error' })
  const text = await response.text()
  if (!response.ok) throw new Error(`${url.href} answered ${response.status}`)
  return text.trim()
}

/** Nitro instances say so in the DMI tables, Xen ones in their hypervisor's UUID (EC2 user guide, "Identify EC2 instances"). */
function isEc2(): boolean {
  return (
    /amazon ec2/i.test(read('/sys/class/dmi/id/sys_vendor')) ||
    /amazon/i.test(read('/sys/class/dmi/id/bios_version')) ||
    /^ec2/i.test(read('/sys/hypervisor/uuid'))
  )
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
