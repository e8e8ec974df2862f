import type { ClientOptions } from './index.js'

/** A sandbox of E2B with a server in it. */
export interface Sandbox {
  id: string
  url: string
  /** Token with which this client claims the server. */
  token: string
  kill(): Promise<void>
}

/** The part of the package `e2b` that is used. */
interface E2b {
  Sandbox: {
    create(
      template: string,
      options: { apiKey?: string; timeoutMs: number },
    ): Promise<{ sandboxId: string; getHost(port: number): string; kill(): Promise<unknown> }>
  }
}

const PORT = 3000
const TEMPLATE = 'claude-agent-server'
const FIVE_MINUTES = 300_000
/** Time for the server in a new sandbox to answer. */
const START_MS = 30_000

export async function createSandbox(options: ClientOptions): Promise<Sandbox> {
  const apiKey = options.e2bApiKey ?? globalThis.process?.env?.E2B_API_KEY
  if (apiKey === undefined) throw new Error('Give a connectionUrl, or an e2bApiKey (E2B_API_KEY) for a sandbox')
  const name = 'e2b'
  let e2b: E2b
  try {
    e2b = (await import(name)) as E2b
  } catch {
    throw new Error('A sandbox needs the package e2b: npm install e2b')
  }
  const timeoutMs = options.timeoutMs ?? FIVE_MINUTES
  const sandbox = await e2b.Sandbox.create(options.template ?? TEMPLATE, { apiKey, timeoutMs })
  const host = sandbox.getHost(PORT)
  // Only a sandbox on this machine has a port in its name.
  const url = `${host.startsWith('localhost') || host.startsWith('127.') ? 'http' : 'https'}://${host}`
  const kill = async () => void (await sandbox.kill())
  try {
    await waitFor(`${url}/health`)
  } catch (error) {
    await kill()
    throw error
  }
  return { id: sandbox.sandboxId, url, token: draw(), kill }
}

async function waitFor(url: string): Promise<void> {
  const deadline = Date.now() + START_MS
  for (;;) {
    const answer = await fetch(url).catch(() => undefined)
    // An original server has no /health and answers 404.
    if (answer && (answer.ok || answer.status === 404)) return
    if (Date.now() > deadline) throw new Error(`The server in the sandbox does not answer at ${url}`)
    await new Promise(resolve => setTimeout(resolve, 250))
  }
}

function draw(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), byte => byte.toString(16).padStart(2, '0')).join('')
}
