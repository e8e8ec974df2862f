/** Files of the server's workspace, over `/files`. */

/** An entry of a directory. */
export interface FileEntry {
  name: string
  type: 'file' | 'directory' | 'symlink' | 'other'
  /** Bytes of a file; else 0. */
  size: number
  /** Milliseconds since 1970. */
  modified: number
}

/** A change in a directory that is watched, with the names of E2B. */
export interface FileEvent {
  /** Path, relative to the workspace. */
  name: string
  type: 'create' | 'write' | 'remove' | (string & {})
}

export interface WatchOptions {
  /** Tells of changes below its directories too; by default false. */
  recursive?: boolean
  /** Called when the watch ends, with the cause if it was not stopped. */
  onExit?: (error?: Error) => void
}

export interface WatchHandle {
  stop(): Promise<void>
}

/** The workspace of claude-agent-server's sandboxes. */
const WORKSPACE = '/home/user/agent-workspace'
const EVENTS: Record<string, string> = { created: 'create', modified: 'write', removed: 'remove' }

export class Files {
  readonly #url: string
  readonly #token: string | undefined

  constructor(url: string, token: string | undefined) {
    this.#url = url
    this.#token = token
  }

  async write(path: string, content: string | ArrayBuffer | Uint8Array | Blob): Promise<void> {
    await this.#ask('PUT', path, { body: content as BodyInit })
  }

  async read(path: string): Promise<Response> {
    return this.#ask('GET', path)
  }

  async remove(path: string): Promise<void> {
    await this.#ask('DELETE', path)
  }

  async list(path: string): Promise<FileEntry[]> {
    const answer = await this.#ask('GET', path)
    if (!answer.headers.get('content-type')?.startsWith('application/json')) throw new Error(`${path} is no directory`)
    return ((await answer.json()) as { entries: FileEntry[] }).entries
  }

  async watch(path: string, onEvent: (event: FileEvent) => void, options: WatchOptions): Promise<WatchHandle> {
    const abort = new AbortController()
    const answer = await this.#ask('GET', path, { signal: abort.signal }, '?watch=true')
    const top = relative(path)
    const follow = async () => {
      const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader()
      let text = ''
      for (;;) {
        const { done, value } = await reader.read()
        if (done) throw new Error('The watch has ended')
        const lines = (text + value).split('\n')
        text = lines.pop()!
        for (const line of lines.filter(line => line.startsWith('data:'))) {
          const { event, path: changed } = JSON.parse(line.slice(5)) as { event: string; path: string }
          const below = top === '' ? changed : changed.slice(top.length + 1)
          if (options.recursive || !below.includes('/')) onEvent({ name: changed, type: EVENTS[event] ?? event })
        }
      }
    }
    const ended = follow().then(undefined, (error: Error) => options.onExit?.(abort.signal.aborted ? undefined : error))
    return { stop: () => (abort.abort(), ended) }
  }

  async #ask(method: string, path: string, init: RequestInit = {}, query = ''): Promise<Response> {
    const headers: Record<string, string> = {}
    if (this.#token !== undefined) headers.Authorization = `Bearer ${this.#token}`
    const names = relative(path).split('/').filter(name => name !== '')
    const route = ['files', ...names.map(encodeURIComponent)].join('/')
    const answer = await fetch(`${this.#url}/${route}${query}`, { ...init, method, headers })
    if (!answer.ok) throw new Error(`${method} ${path} was refused (${answer.status}): ${await answer.text()}`)
    return answer
  }
}

/** A path of claude-agent-server as one that is relative to the workspace. */
function relative(path: string): string {
  const isElsewhere = path.startsWith('/') && path !== WORKSPACE && !path.startsWith(`${WORKSPACE}/`)
  if (isElsewhere || path.split('/').includes('..'))
    throw new Error(`${path} is outside of the workspace: give a path that is relative to it`)
  const below = path.startsWith('/') ? path.slice(WORKSPACE.length) : path
  return below.split('/').filter(name => name !== '' && name !== '.').join('/')
}
