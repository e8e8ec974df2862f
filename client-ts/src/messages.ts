/** The messages of the WebSocket, as docs/protocol.md describes them. */

export interface UserMessage {
  type: 'user'
  message: { role: 'user'; content: string | readonly unknown[] }
  session_id?: string
  parent_tool_use_id?: string | null
  uuid?: string
  [field: string]: unknown
}

/** What a client may send. */
export type ClientMessage =
  | { type: 'user_message'; data: UserMessage }
  | { type: 'interrupt' }
  | {
      type: 'permission_response'
      requestId: string
      approved: boolean
      updatedInput?: Record<string, unknown>
      updatedPermissions?: unknown[]
      message?: string
      interrupt?: boolean
    }
  | { type: 'control_request'; requestId: string; request: { subtype: string; [field: string]: unknown } }
  | { type: 'capabilities' }

/** One message of the agent: what the official SDK yields. */
export interface SDKMessage {
  type: string
  [field: string]: any
}

interface Numbered {
  /** Number of the message; only from a relay. */
  seq?: number
}

/** What a client gets. A later server may send more. */
export type ServerMessage =
  | { type: 'connected'; stream?: string; next?: number }
  | ({ type: 'sdk_message'; data: SDKMessage } & Numbered)
  | ({ type: 'error'; error: string } & Numbered)
  | ({ type: 'info'; data: string } & Numbered)
  | ({
      type: 'permission_request'
      requestId: string
      tool: string
      input: Record<string, unknown>
      context: Record<string, unknown>
    } & Numbered)
  | ({ type: 'permission_cancelled'; requestId: string } & Numbered)
  | { type: 'control_response'; requestId: string; response: { subtype: string; [field: string]: unknown } }
  | { type: 'capabilities'; [field: string]: unknown }
  | ({
      type: 'exit'
      code: number | null
      signal: string | null
      stderr: string
      waiting?: string[]
      dropped?: string[]
    } & Numbered)
  | { type: 'gap'; from: number; to: number }

/** The fields of `POST /config`; see docs/configuration.md for all of them. */
export interface QueryConfig {
  agents?: Record<string, unknown>
  allowedTools?: string[]
  systemPrompt?: string | { type: 'preset'; preset: 'claude_code'; append?: string }
  model?: string
  anthropicApiKey?: string
  [field: string]: unknown
}
