// The client with a package `e2b` of the test's own, whose sandbox is the real
// server on this machine.
import assert from 'node:assert/strict'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import test from 'node:test'
import { ClaudeAgentClient } from '../dist/index.js'
import { relay } from './support/relay.js'

const folder = new URL('../node_modules/e2b/', import.meta.url)

test('without an address a sandbox is made, claimed and ended', { timeout: 60_000 }, async t => {
  await mkdir(folder, { recursive: true })
  t.after(() => rm(folder, { recursive: true }))
  await writeFile(new URL('package.json', folder), JSON.stringify({ name: 'e2b', version: '0.0.0', type: 'module', exports: './index.js' }))
  await writeFile(new URL('index.js', folder), `export const Sandbox = { create: (...given) => globalThis.createSandbox(...given) }`)
  const url = await relay(t)
  const calls = []
  globalThis.createSandbox = async (template, options) => {
    calls.push([template, options])
    return { sandboxId: 'i1', getHost: port => (assert.equal(port, 3000), new URL(url).host), kill: async () => calls.push('kill') }
  }
  const client = new ClaudeAgentClient({ e2bApiKey: 'e2b_key', template: 'mine', timeoutMs: 1000, model: 'sonnet' })
  await client.start()
  assert.deepEqual(calls, [['mine', { apiKey: 'e2b_key', timeoutMs: 1000 }]])
  // Nobody else gets in any more.
  assert.equal((await fetch(`${url}/config`)).status, 401)
  await client.stop()
  assert.equal(calls.at(-1), 'kill')
  await assert.rejects(new ClaudeAgentClient().start(), /connectionUrl|E2B_API_KEY/)
})
