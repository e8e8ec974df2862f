/**
 * A client of claude-relay, with the constructor options and methods of
 * `ClaudeAgentClient` of claude-agent-server. It also serves an original server.
 *
 * With a relay nothing is lost over a broken connection: the client comes back
 * with the number of the last message it got (`?after=N&stream=S`).
 */

import { Files, type FileEntry, type FileEvent, type WatchHandle, type WatchOptions } from './files.js'
import type { ClientMessage, QueryConfig, ServerMessage } from './messages.js'
import { connectSocket, type Socket } from './socket.js'
import { createSandbox, type Sandbox } from './sandbox.js'

export type * from './messages.js'
export type { FileEntry, FileEvent, WatchHandle, WatchOptions } from './files.js'

/** Messages that a client may send; the name in claude-agent-server. */
export type WSInputMessage = ClientMessage
/** Messages that a client gets; the name in claude-agent-server. */
export type WSOutputMessage = ServerMessage

/** Options of the constructor. Those of {@link QueryConfig} are posted. */
export interface ClientOptions extends QueryConfig {
  /** Address of a server, instead of a sandbox: `http://localhost:3000`. */
  connectionUrl?: string
  /** Token of that server. */
  token?: string
  /** Key of E2B, for a sandbox; else E2B_API_KEY. Needs the package `e2b`. */
  e2bApiKey?: string
  /** Template of the sandbox; by default `claude-agent-server`. */
  template?: string
  /** Lifetime of the sandbox; by default 5 minutes. */
  timeoutMs?: number
  /** Prints what happens to the console. */
  debug?: boolean
  /** Comes back after a broken connection; by default true. */
  reconnect?: boolean
  /** Time after which it gives up; by default 60 s. */
  reconnectMs?: number
}

/** Messages that wait for the first handler, or for the connection. */
const MOST_WAITING = 10_000
const FIRST_DELAY_MS = 250
const LONGEST_DELAY_MS = 8_000
/** Close codes after which the server does not want this client back. */
const FINAL_CODES = new Set([1002, 1003, 1007, 1008, 1009, 1013, 4001, 4002])

type Handler = (message: ServerMessage) => void
type Connected = ServerMessage & { type: 'connected' }

export class ClaudeAgentClient {
  readonly #options: ClientOptions
  readonly #handlers = new Set<Handler>()
  /** What came before the first handler. */
  #early: ServerMessage[] = []
  /** What waits for the connection. */
  #unsent: string[] = []
  #socket: Socket | undefined
  #sandbox: Sandbox | undefined
  #url = ''
  #token: string | undefined
  /** What the server is told with the connection; undefined for one that takes it by `POST` alone. */
  #configuration: object | undefined
  #stream: string | undefined
  /** Number of the last message that was delivered. */
  #last = 0
  #state: 'new' | 'starting' | 'open' | 'reconnecting' | 'closed' = 'new'
  #wake: (() => void) | undefined

  constructor(options: ClientOptions = {}) {
    this.#options = options
  }

  /** Makes a sandbox if no `connectionUrl` is given, configures, connects. */
  async start(): Promise<void> {
    if (this.#state !== 'new') throw new Error('The client was started before')
    this.#state = 'starting'
    try {
      await this.#locate()
      await this.#configure()
      await this.#connect()
    } catch (error) {
      await this.stop()
      throw error
    }
  }

  /** Sends a message; while the connection is broken it waits for the next. */
  send(message: ClientMessage): void {
    const text = JSON.stringify(message)
    if (this.#state === 'open') this.#socket?.send(text)
    else if (this.#state !== 'reconnecting') throw new Error('The client is not connected: call start() first')
    else if (this.#unsent.length < MOST_WAITING) this.#unsent.push(text)
    else throw new Error('The connection is broken and too many messages wait for it')
  }

  /**
   * Calls `handler` for each message from now on; the first handler also gets
   * what has come before. Returns a function that takes it away.
   */
  onMessage(handler: Handler): () => void {
    this.#handlers.add(handler)
    const early = this.#early
    this.#early = []
    if (early.length > 0) queueMicrotask(() => early.forEach(message => this.#call(handler, message)))
    return () => this.#handlers.delete(handler)
  }

  /** Stops the running turn. */
  interrupt(): void {
    this.send({ type: 'interrupt' })
  }

  /** Writes a file of the workspace, and the directories above it. */
  async writeFile(path: string, content: string | ArrayBuffer | Uint8Array | Blob): Promise<void> {
    await this.#files().write(path, content)
  }

  /** Reads a file of the workspace. */
  readFile(path: string, format?: 'text'): Promise<string>
  readFile(path: string, format: 'blob'): Promise<Blob>
  readFile(path: string, format: 'bytes'): Promise<Uint8Array>
  async readFile(path: string, format: 'text' | 'blob' | 'bytes' = 'text'): Promise<string | Blob | Uint8Array> {
    const answer = await this.#files().read(path)
    if (format === 'blob') return answer.blob()
    return format === 'bytes' ? new Uint8Array(await answer.arrayBuffer()) : answer.text()
  }

  /** Removes a file of the workspace, or an empty directory. */
  async removeFile(path: string): Promise<void> {
    await this.#files().remove(path)
  }

  /** Lists a directory of the workspace; by default the workspace itself. */
  async listFiles(path = '.'): Promise<FileEntry[]> {
    return this.#files().list(path)
  }

  /** Tells of what changes in a directory, until it is stopped. */
  async watchDir(path: string, onEvent: (event: FileEvent) => void, options: WatchOptions = {}): Promise<WatchHandle> {
    return this.#files().watch(path, onEvent, options)
  }

  /** Closes the connection, and ends the sandbox if there is one. */
  async stop(): Promise<void> {
    this.#state = 'closed'
    this.#wake?.()
    this.#socket?.close(1000)
    this.#socket = undefined
    const sandbox = this.#sandbox
    this.#sandbox = undefined
    await sandbox?.kill()
  }

  #files(): Files {
    if (this.#url === '' || this.#state === 'closed') throw new Error('The client is not connected: call start() first')
    return new Files(this.#url, this.#token)
  }

  async #locate(): Promise<void> {
    const { connectionUrl, token } = this.#options
    this.#token = token
    if (connectionUrl === undefined) {
      this.#sandbox = await createSandbox(this.#options)
      this.#url = this.#sandbox.url
      this.#token ??= this.#sandbox.token
      this.#log(`sandbox ${this.#sandbox.id} at ${this.#url}`)
    } else {
      const url = new URL(connectionUrl)
      this.#token ??= url.hash.match(/^#token=(.+)$/)?.[1]
      this.#url = `${url.protocol.replace(/^ws/, 'http')}//${url.host}${url.pathname.replace(/\/(ws)?$/, '')}`
    }
  }

  async #configure(): Promise<void> {
    const { connectionUrl, token, e2bApiKey, template, timeoutMs, debug, reconnect, reconnectMs, ...config } =
      this.#options
    const key = globalThis.process?.env?.ANTHROPIC_API_KEY
    if (config.anthropicApiKey === undefined && this.#sandbox && key) config.anthropicApiKey = key
    // A sandbox belongs to who configures it first. Elsewhere the place comes first, so that a
    // client that is refused has changed nothing.
    if (!this.#sandbox && (await this.#takesConfiguration())) {
      this.#configuration = config
      return
    }
    const claim = this.#sandbox ? { authToken: this.#token } : {}
    const answer = await fetch(`${this.#url}/config`, {
      method: 'POST',
      headers: { ...this.#authorization(), 'Content-Type': 'application/json' },
      body: JSON.stringify({ ...config, ...claim }),
    })
    if (!answer.ok) throw new Error(`The configuration was refused (${answer.status}): ${await answer.text()}`)
    await answer.body?.cancel()
  }

  /** Whether the server is a relay that takes the configuration with the connection. */
  async #takesConfiguration(): Promise<boolean> {
    const answer = await fetch(`${this.#url}/health`, { headers: this.#authorization() })
    const health: { client?: unknown; agent_state?: unknown } | null = await answer.json().catch(() => null)
    return answer.ok && health?.client !== undefined && health.agent_state !== undefined
  }

  #authorization(): Record<string, string> {
    return this.#token === undefined ? {} : { Authorization: `Bearer ${this.#token}` }
  }

  /** Connects once. Resolves when the server has said `connected`, and has the configuration. */
  async #connect(): Promise<void> {
    const url = new URL(`${this.#url}/ws`.replace(/^http/, 'ws'))
    url.searchParams.set('after', String(this.#last))
    if (this.#stream !== undefined) url.searchParams.set('stream', this.#stream)
    if (this.#token !== undefined) url.searchParams.set('token', this.#token)
    if (this.#configuration !== undefined) url.searchParams.set('configure', 'true')
    let refused: string | undefined
    await new Promise<void>((resolve, reject) => {
      let greeting: Connected | undefined
      let isConnected = false
      const begin = (connected: Connected, more?: ServerMessage) => {
        isConnected = true
        this.#onConnected(connected, more)
        resolve()
      }
      const onMessage = (text: string) => {
        const message = JSON.parse(text) as ServerMessage
        if (isConnected) return this.#onMessage(message)
        if (message.type === 'error') refused = message.error
        if (message.type === 'connected') {
          greeting = message
          if (this.#configuration === undefined) begin(message)
          else this.#socket?.send(JSON.stringify(this.#configureMessage(message)))
        }
        if (message.type === 'configured' && greeting !== undefined) begin(greeting, message)
      }
      const onClose = (code: number) => {
        if (isConnected) return this.#onClose(code)
        const reason = refused ?? `The connection was refused (${code})`
        reject(new ConnectError(code === 4002 ? `The configuration was refused: ${reason}` : reason, code))
      }
      connectSocket(url.toString(), onMessage, onClose).then(
        socket => (this.#state === 'closed' ? socket.close(1000) : (this.#socket = socket)),
        reject,
      )
    })
  }

  /** The whole configuration for a server that does not have it yet; nothing new for one that has. */
  #configureMessage(greeting: Connected): ClientMessage {
    const isKnown = this.#stream !== undefined && greeting.stream === this.#stream
    if (isKnown) return { type: 'configure', config: {}, merge: true }
    return { type: 'configure', config: this.#configuration as QueryConfig }
  }

  /** `configured` is the answer to the configuration, which is told when a server that was started anew got it. */
  #onConnected(message: Connected, configured?: ServerMessage): void {
    if (this.#state === 'closed') return
    const isAnew = this.#stream !== undefined && message.stream !== this.#stream
    // A new client begins with what comes from now on, as with an original
    // server; a client that comes back gets what it has missed.
    if (this.#stream === undefined && message.next !== undefined) this.#last = message.next - 1
    else if (message.stream !== this.#stream) this.#last = 0
    this.#stream = message.stream
    this.#state = 'open'
    this.#log('connected')
    this.#deliver(message)
    if (isAnew && configured !== undefined) this.#deliver(configured)
    for (const text of this.#unsent.splice(0)) this.#socket?.send(text)
  }

  #onMessage(message: ServerMessage): void {
    if ('seq' in message && typeof message.seq === 'number') {
      if (message.seq <= this.#last) return
      this.#last = message.seq
    }
    if (message.type === 'gap' && message.to <= this.#last) return
    this.#deliver(message)
  }

  #deliver(message: ServerMessage): void {
    if (this.#handlers.size > 0) this.#handlers.forEach(handler => this.#call(handler, message))
    else if (this.#early.length < MOST_WAITING) this.#early.push(message)
  }

  #call(handler: Handler, message: ServerMessage): void {
    try {
      handler(message)
    } catch (error) {
      console.error('A message handler has failed:', error)
    }
  }

  #onClose(code: number): void {
    this.#socket = undefined
    if (this.#state === 'closed') return
    this.#log(`the connection has ended (${code})`)
    const returns = this.#options.reconnect !== false && this.#stream !== undefined && !FINAL_CODES.has(code)
    if (returns) void this.#reconnect()
    else this.#end(`The connection has ended (${code})`)
  }

  async #reconnect(): Promise<void> {
    this.#state = 'reconnecting'
    const deadline = Date.now() + (this.#options.reconnectMs ?? 60_000)
    for (let delay = FIRST_DELAY_MS; ; delay = Math.min(2 * delay, LONGEST_DELAY_MS)) {
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, delay)
        this.#wake = () => (clearTimeout(timer), resolve())
      })
      if (this.#isClosed()) return
      try {
        return await this.#connect()
      } catch (error) {
        if (this.#isClosed()) return
        // 1013: the server still believes in the connection that broke.
        const isFinal = error instanceof ConnectError && FINAL_CODES.has(error.code) && error.code !== 1013
        if (isFinal || Date.now() > deadline) return this.#end(`The connection is lost: ${String(error)}`)
      }
    }
  }

  #isClosed(): boolean {
    return this.#state === 'closed'
  }

  #end(error: string): void {
    this.#state = 'closed'
    const lost = this.#unsent.splice(0).length
    const unsent = lost > 0 ? `; ${lost} messages were not sent` : ''
    this.#deliver({ type: 'error', error: error + unsent })
  }

  #log(text: string): void {
    if (this.#options.debug) console.log(`[claude-relay] ${text}`)
  }
}

class ConnectError extends Error {
  constructor(
    message: string,
    readonly code: number,
  ) {
    super(message)
  }
}
