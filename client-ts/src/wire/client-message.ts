/** Generated from docs/schema by `npm run types`. */

/**
 * A message from a client to the server over `/ws`.
 */
export type ClientMessage =
  | {
      type: 'user_message'
      data: UserMessage
      [k: string]: any
    }
  | {
      type: 'interrupt'
      [k: string]: any
    }
  | {
      type: 'permission_response'
      /**
       * The id of the request.
       */
      requestId: string
      /**
       * True allows the tool.
       */
      approved: boolean
      /**
       * With an approval: the input to run the tool with.
       */
      updatedInput?: {
        [k: string]: any
      } | null
      /**
       * With an approval: rules to add.
       */
      updatedPermissions?: any[] | null
      /**
       * With a denial: the reason, which the agent reads.
       */
      message?: string | null
      /**
       * With a denial: ends the turn as well.
       */
      interrupt?: boolean | null
      [k: string]: any
    }
  | {
      type: 'control_request'
      /**
       * The client's own id, which the answer repeats.
       */
      requestId: string
      request: Control
      [k: string]: any
    }
  | ((
      | {
          response: {
            [k: string]: any
          }
          [k: string]: any
        }
      | {
          error: string
          [k: string]: any
        }
    ) & {
      type: 'agent_response'
      /**
       * The id of the request.
       */
      requestId: string
      /**
       * The answer, as the Agent SDK gives it.
       */
      response?: {
        [k: string]: any
      } | null
      /**
       * The reason for which there is no answer.
       */
      error?: string | null
      [k: string]: any
    })
  | {
      type: 'configure'
      /**
       * A configuration, as for `POST /config`; see `config.json`.
       */
      config: {
        [k: string]: any
      }
      /**
       * True for a JSON Merge Patch.
       */
      merge?: boolean | null
      [k: string]: any
    }
  | {
      type: 'capabilities'
      [k: string]: any
    }

/**
 * The SDK user message; its bytes reach the agent unchanged.
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
 * The request with its arguments.
 */
export interface Control {
  /**
   * The name of the request.
   */
  subtype: string
  [k: string]: any
}
