// The real server for tests: RELAY_BIN names it.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import readline from 'node:readline'

const program = process.env.RELAY_BIN
assert.ok(program, 'RELAY_BIN names no server')

/** A server with the built-in agent, which ends with the test. */
export async function relay(t, ...args) {
  const home = await mkdtemp(path.join(tmpdir(), 'client-ts-'))
  const child = spawn(program, ['--demo', '--port=0', '--lifeline', ...args], {
    cwd: home,
    env: { PATH: process.env.PATH, HOME: home },
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  t.after(async () => {
    const ended = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : undefined
    child.stdin.end()
    await ended
    await rm(home, { recursive: true, force: true })
  })
  const [line] = await once(readline.createInterface(child.stdout), 'line')
  return line.replace('listening on ', '')
}
