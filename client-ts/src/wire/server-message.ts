/** Generated from docs/schema by `npm run types`. */

/**
 * A message from the server to a client over `/ws`. A later server may send
 * others, and other fields.
 */
export type ServerMessage =
  | {
      type: 'connected'
      /**
       * The id of this run of the server; with `after=`.
       */
      stream?: string
      /**
       * The number that the next numbered message will get; with `after=`.
       */
      next?: number
      [k: string]: any
    }
  | {
      type: 'sdk_message'
      /**
       * The number of the message; with `after=`.
       */
      seq?: number
      data: SDKMessage
      [k: string]: any
    }
  | {
      type: 'error'
      /**
       * The number, on connections with `after=`, where the message is kept.
       */
      seq?: number
      /**
       * The text.
       */
      error: string
      [k: string]: any
    }
  | {
      type: 'info'
      /**
       * The number.
       */
      seq?: number
      /**
       * The text.
       */
      data: string
      [k: string]: any
    }
  | {
      type: 'permission_request'
      /**
       * The number.
       */
      seq?: number
      /**
       * The id that the answer repeats.
       */
      requestId: string
      /**
       * The tool.
       */
      tool: string
      /**
       * The input that it would be called with.
       */
      input: {
        [k: string]: any
      }
      /**
       * The other fields of the agent's request.
       */
      context: {
        [k: string]: any
      }
      [k: string]: any
    }
  | {
      type: 'permission_cancelled'
      /**
       * The number.
       */
      seq?: number
      /**
       * The id of the request.
       */
      requestId: string
      [k: string]: any
    }
  | {
      type: 'control_response'
      /**
       * The client's own id.
       */
      requestId: string
      response: Control
      [k: string]: any
    }
  | {
      type: 'capabilities'
      [k: string]: any
    }
  | {
      type: 'exit'
      /**
       * The number.
       */
      seq?: number
      /**
       * Its exit code, or null after a signal.
       */
      code: number | null
      /**
       * The name of the signal, or null after an exit.
       */
      signal: string | null
      /**
       * The end of its stderr.
       */
      stderr: string
      /**
       * The `uuid`s of messages that wait for its next run.
       */
      waiting?: string[]
      /**
       * The `uuid`s of messages that it had and that have not been done.
       */
      dropped?: string[]
      [k: string]: any
    }
  | {
      type: 'gap'
      /**
       * The first missing number.
       */
      from: number
      /**
       * The last missing number; below `from` when nothing is missing but
       * the numbers begin anew.
       */
      to: number
      [k: string]: any
    }
  | {
      type: 'configured'
      /**
       * The time at which it takes effect.
       */
      applies: 'now' | 'next_start'
      /**
       * The configuration without its secrets.
       */
      config: {
        [k: string]: any
      }
      /**
       * The names of secrets that are set.
       */
      secrets?: string[]
      /**
       * Fields that have no effect.
       */
      ignored?: string[]
      /**
       * The reason, for fields of `ignored` that have one.
       */
      reasons?: {
        [k: string]: string
      }
      /**
       * Likely names, for unknown fields of `ignored`.
       */
      hints?: {
        [k: string]: string
      }
      [k: string]: any
    }
  | {
      type: 'agent_state'
      /**
       * The state.
       */
      state: 'stopped' | 'starting' | 'idle' | 'running' | 'waiting' | 'stopping'
      /**
       * The running turn.
       */
      turn: Turn | null
      /**
       * The number of background tasks that run.
       */
      background_tasks: number
      /**
       * The id of the conversation, once the agent has named it.
       */
      conversation: string | null
      /**
       * The model, once the agent has named it.
       */
      model: string | null
      /**
       * The permission mode, once the agent has named it.
       */
      permission_mode: string | null
      /**
       * The `uuid`s of messages that no turn has taken.
       */
      queued: string[]
      /**
       * The number of such messages without a `uuid`; absent if there is none.
       */
      unnamed?: number
      /**
       * The number of read-only clients.
       */
      watchers: number
      /**
       * The state of the store, where there is one.
       */
      store?: {
        /**
         * Its state in one word.
         */
        state: 'ok' | 'behind'
        /**
         * The bytes that wait for it on the server's disk.
         */
        waiting_bytes?: number
        /**
         * The parts that are neither in it nor on the disk.
         */
        lost?: number
        /**
         * The reason for which it takes nothing.
         */
        error?: string
        [k: string]: any
      }
      [k: string]: any
    }
  | {
      type: 'undelivered'
      /**
       * The number.
       */
      seq?: number
      /**
       * Their `uuid`s.
       */
      uuids: string[]
      /**
       * The number of such messages without a `uuid`; absent if there is none.
       */
      unnamed?: number
      /**
       * The reason.
       */
      reason: string
      [k: string]: any
    }
  | {
      type: 'input'
      /**
       * The number.
       */
      seq?: number
      data: UserMessage
      [k: string]: any
    }
  | {
      type: 'agent_request'
      /**
       * The number.
       */
      seq?: number
      /**
       * The id that the answer repeats.
       */
      requestId: string
      request: Control1
      [k: string]: any
    }
  | {
      type: 'agent_request_cancelled'
      /**
       * The number.
       */
      seq?: number
      /**
       * The id of the request.
       */
      requestId: string
      [k: string]: any
    }

/**
 * The line.
 */
export interface SDKMessage {
  /**
   * The kind of message. Codex's notifications have a `method` instead.
   */
  type?: string
  [k: string]: any
}
/**
 * `subtype` `success` with a `response`, or `error` with an `error`.
 */
export interface Control {
  /**
   * The name of the request.
   */
  subtype: string
  [k: string]: any
}
/**
 * A value.
 */
export interface Turn {
  /**
   * Its author.
   */
  origin: 'client' | 'agent'
  /**
   * The `uuid` of the client's message, if it has one.
   */
  uuid?: string
  /**
   * The `uuid`s, where one turn answers several messages.
   */
  uuids?: string[]
  [k: string]: any
}
/**
 * The message.
 */
export interface UserMessage {
  /**
   * Always `user`.
   */
  type: 'user'
  message: UserContent
  /**
   * The id by which the agent and `agent_state` name the message.
   */
  uuid?: string
  [k: string]: any
}
/**
 * Role and content.
 */
export interface UserContent {
  /**
   * Always `user`.
   */
  role: 'user'
  /**
   * Text, or content blocks of the Messages API.
   */
  content:
    | string
    | {
        [k: string]: any
      }[]
  [k: string]: any
}
/**
 * The agent's own control request, unchanged.
 */
export interface Control1 {
  /**
   * The name of the request.
   */
  subtype: string
  [k: string]: any
}
