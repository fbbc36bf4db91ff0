import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  verify,
  type KeyObject,
} from 'node:crypto'

/** A new Ed25519 pair: the private key as PKCS#8 PEM, the public one as SPKI PEM. */
export function newKeyPair(): { privateKey: string; publicKey: string } {
  const pair = generateKeyPairSync('ed25519')
  return {
    privateKey: pair.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    publicKey: pair.publicKey.export({ type: 'spki', format: 'pem' }) as string,
  }
}

/** The public key that belongs to a private one, as SPKI PEM. */
export function publicKeyOf(privateKey: KeyObject): string {
  return createPublicKey(privateKey).export({ type: 'spki', format: 'pem' }) as string
}

export function readPrivateKey(pem: string): KeyObject {
  return createPrivateKey(pem)
}

/** Ed25519 signature of a text, base64. */
export function signText(privateKey: KeyObject, text: string): string {
  return sign(null, Buffer.from(text, 'utf8'), privateKey).toString('base64')
}

/** Whether the signature is this key's over this text. False, never an error, for a key or signature that is garbage. */
export function verifyText(publicKeyPem: string, text: string, signature: string): boolean {
  try {
    return verify(null, Buffer.from(text, 'utf8'), createPublicKey(publicKeyPem), Buffer.from(signature, 'base64'))
  } catch {
    return false
  }
}

/** Whether a text is an Ed25519 public key, PEM. */
export function isPublicKey(pem: string): boolean {
  try {
    return createPublicKey(pem).asymmetricKeyType === 'ed25519' && pem.includes('PUBLIC KEY')
  } catch {
    return false
  }
}

/** What an agent signs in its answer to the control plane's hello. */
export function helloText(nonce: string, server: string): string {
  return `dploy hello\n${nonce}\n${server}`
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
