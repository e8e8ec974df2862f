/** One WebSocket, of the platform or of the package `ws`. */
export interface Socket {
  send(text: string): void
  close(code: number): void
}

type Constructor = new (url: string) => WebSocket

async function find(): Promise<Constructor> {
  if (globalThis.WebSocket !== undefined) return globalThis.WebSocket
  // Node before 22 has none.
  const name = 'ws'
  try {
    return ((await import(name)) as { WebSocket: Constructor }).WebSocket
  } catch {
    throw new Error('This platform has no WebSocket: use Node 22 or later, or install the package ws')
  }
}

export async function connectSocket(
  url: string,
  onMessage: (text: string) => void,
  onClose: (code: number) => void,
): Promise<Socket> {
  const socket = new (await find())(url)
  socket.onmessage = event => onMessage(String(event.data))
  socket.onclose = event => onClose(event.code)
  // An error is followed by a close.
  socket.onerror = () => {}
  return {
    send: text => socket.send(text),
    close: code => socket.close(code),
  }
}
