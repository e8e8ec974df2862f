/** The messages of the WebSocket, as docs/protocol.md describes them. */

/** What a client may send. */
export type { ClientMessage, UserMessage } from './wire/client-message.js'
/** What a client gets. A later server may send more. */
export type { ServerMessage, SDKMessage, Turn } from './wire/server-message.js'
/** The fields of `POST /config`; see docs/configuration.md. */
export type { Configuration as QueryConfig } from './wire/config.js'
