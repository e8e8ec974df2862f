// The part of Node's globals that is used where they are there.
declare var process: { env: Record<string, string | undefined> } | undefined
