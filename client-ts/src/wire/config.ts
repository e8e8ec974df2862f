/** Generated from docs/schema by `npm run types`. */

/**
 * The configuration of `POST /config`; see docs/configuration.md.
 */
export interface Configuration {
  /**
   * sub-agents by name; headers and variables of their MCP servers are masked
   */
  agents?: {
    [k: string]: {
      description?: string
      prompt?: string
      model?: string
      tools?: string[]
      disallowedTools?: string[]
      mcpServers?: (
        | string
        | {
            [k: string]: any
          }
      )[]
      [k: string]: any
    }
  } | null
  /**
   * tools that run without asking
   */
  allowedTools?: string[] | null
  /**
   * the system prompt; without it the prompt is empty, as in the SDK
   */
  systemPrompt?:
    | (
        | string
        | string[]
        | {
            type: 'custom'
            prompt: string | string[]
            [k: string]: any
          }
        | {
            type: 'preset'
            preset: 'claude_code'
            append?: string
            [k: string]: any
          }
      )
    | null
  /**
   * the model
   */
  model?: string | null
  /**
   * MCP servers by name; headers and variables are masked, passwords in addresses too
   */
  mcpServers?: {
    [k: string]: {
      [k: string]: any
    }
  } | null
  /**
   * tools that may not be used
   */
  disallowedTools?: string[] | null
  /**
   * the tools that exist
   */
  tools?:
    | (
        | string[]
        | {
            type: 'preset'
            preset: 'claude_code'
            [k: string]: any
          }
      )
    | null
  /**
   * which uses of tools are asked about
   */
  permissionMode?:
    ('default' | 'acceptEdits' | 'bypassPermissions' | 'plan' | 'dontAsk' | 'auto') | null
  /**
   * most calls of the model for one message
   */
  maxTurns?: number | null
  /**
   * most tokens for thinking; 0 turns it off
   */
  maxThinkingTokens?: number | null
  /**
   * most that the conversation may cost, in US dollars
   */
  maxBudgetUsd?: number | null
  /**
   * the model to use while the first is overloaded; another one than `model`
   */
  fallbackModel?: string | null
  /**
   * how hard the model tries, such as `low`, `medium`, `high`
   */
  effort?: string | null
  /**
   * send text while it is written
   */
  includePartialMessages?: boolean | null
  /**
   * the settings files that count; default `project`
   */
  settingSources?: ('user' | 'project' | 'local')[] | null
  /**
   * directories beside the working directory
   */
  additionalDirectories?: string[] | null
  /**
   * the JSON schema of the final answer
   */
  outputFormat?: {
    type: 'json_schema'
    schema: {
      [k: string]: any
    }
    [k: string]: any
  } | null
  /**
   * the id of a conversation to continue
   */
  resume?: string | null
  /**
   * continue the latest conversation of the working directory
   */
  continue?: boolean | null
  /**
   * give the resumed conversation a new id
   */
  forkSession?: boolean | null
  /**
   * the working directory, inside the workspace
   */
  cwd?: string | null
  /**
   * variables that are laid over the inherited environment; values are masked
   */
  env?: {
    [k: string]: string
  } | null
  /**
   * an API key
   */
  anthropicApiKey?: string | null
  /**
   * a token of a Claude subscription
   */
  claudeCodeOauthToken?: string | null
  /**
   * a bearer token, for a gateway
   */
  anthropicAuthToken?: string | null
  /**
   * the address of the Messages API; a password in it is masked
   */
  anthropicBaseUrl?: string | null
  /**
   * which agent runs
   */
  provider?: ('claude' | 'codex') | null
  /**
   * beta features of the Messages API
   */
  betas?: string[] | null
  /**
   * send events of hooks as messages
   */
  includeHookEvents?: boolean | null
  /**
   * suggest a next prompt after each turn
   */
  promptSuggestions?: boolean | null
  /**
   * hooks that the client runs: each reaches it as `agent_request`
   */
  hooks?: {
    [k: string]: {
      matcher?: string | null
      hookCallbackIds?: string[]
      timeout?: number | null
      [k: string]: any
    }[]
  } | null
  /**
   * names of MCP servers that the client runs: their messages reach it as `agent_request`
   */
  sdkMcpServers?: string[] | null
  /**
   * the sub-agent whose prompt, tools and model the main conversation has
   */
  agent?: string | null
  /**
   * the skills of the main conversation; each is allowed without asking
   */
  skills?: ('all' | string[]) | null
  /**
   * plugins: commands, agents, skills, hooks and MCP servers of a directory
   */
  plugins?:
    | {
        type: 'local'
        path: string
        skipMcpDiscovery?: boolean
      }[]
    | null
  /**
   * whether plugins are told on the command line or, by a CLI from 2.1.261 on, in the first request
   */
  pluginDelivery?: ('argv' | 'initialize') | null
  /**
   * how the model thinks; counts before `maxThinkingTokens`
   */
  thinking?:
    | (
        | {
            type: 'adaptive'
            display?: 'summarized' | 'omitted'
          }
        | {
            type: 'enabled'
            budgetTokens?: number
            display?: 'summarized' | 'omitted'
          }
        | {
            type: 'disabled'
          }
      )
    | null
  /**
   * tokens that the model is told to get along with
   */
  taskBudget?: {
    total: number
    [k: string]: any
  } | null
  /**
   * the steps of plan mode
   */
  planModeInstructions?: string | null
  /**
   * the title of a new conversation
   */
  title?: string | null
  /**
   * the id of the conversation that begins; with `resume` or `continue` only beside `forkSession`
   */
  sessionId?: string | null
  /**
   * `false` keeps the conversation off the disk, so that nothing can resume it
   */
  persistSession?: boolean | null
  /**
   * with `resume`: the last message that counts
   */
  resumeSessionAt?: string | null
  /**
   * with `resumeSessionAt`: the message of the only turn that may be dropped
   */
  resumeDropsTurn?: string | null
  /**
   * settings that beat those of the files; variables belong into `env`
   */
  settings?:
    | (
        | {
            [k: string]: any
          }
        | string
      )
    | null
  /**
   * the CLI's own sandbox around its commands; laid over `settings.sandbox`
   */
  sandbox?: {
    [k: string]: any
  } | null
  /**
   * settings that only restrict, as an administrator's
   */
  managedSettings?: {
    [k: string]: any
  } | null
  /**
   * use no MCP servers but those of this configuration
   */
  strictMcpConfig?: boolean | null
  /**
   * the directory whose project settings count in place of the working directory's
   */
  projectConfigRoot?: string | null
  /**
   * keep copies of changed files, for `rewind_files`
   */
  enableFileCheckpointing?: boolean | null
  /**
   * settings of single tools
   */
  toolConfig?: {
    askUserQuestion?: {
      previewFormat?: 'markdown' | 'html'
    }
  } | null
  /**
   * tools that run in place of others
   */
  toolAliases?: {
    [k: string]: string
  } | null
  /**
   * `none` denies what would be asked about
   */
  permissionPrompts?: ('host' | 'none') | null
  /**
   * the MCP tool that answers permission requests
   */
  permissionPromptToolName?: string | null
  /**
   * kinds of `request_user_dialog` that the client answers
   */
  supportedDialogKinds?: string[] | null
  /**
   * an interrupt leaves background tasks running, because the client can stop each
   */
  perTaskStopAffordance?: boolean | null
  /**
   * summaries of what sub-agents do, in `task_progress`
   */
  agentProgressSummaries?: boolean | null
  /**
   * send the text of sub-agents too
   */
  forwardSubagentText?: boolean | null
  /**
   * messages are text: `@path` and slash commands in them are not carried out
   */
  verbatimPrompts?: boolean | null
  /**
   * the file for the CLI's own log
   */
  debugFile?: string | null
  /**
   * flags of the CLI without a field here; shown like everything else, so no place for secrets
   */
  extraArgs?: {
    [k: string]: string | null
  } | null
  /**
   * claims a server without a token; required from then on
   */
  authToken?: string | null
  [k: string]: any
}
