// The client in Chromium: CHROMIUM names it.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import http from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import test from 'node:test'
import { relay } from './support/relay.js'

const page = url => `<script type="module">
import { ClaudeAgentClient } from './dist/index.js'
const report = text => fetch('/report', { method: 'POST', body: text })
try {
  const client = new ClaudeAgentClient({ connectionUrl: '${url}', token: 'correct-horse-battery' })
  await client.start()
  client.onMessage(message => {
    if (message.type === 'sdk_message' && message.data.type === 'result') report(message.data.subtype)
  })
  client.send({ type: 'user_message', data: { type: 'user', message: { role: 'user', content: 'Hello' } } })
} catch (error) {
  report(String(error))
}
</script>`

test('a turn in a browser', { timeout: 60_000 }, async t => {
  assert.ok(process.env.CHROMIUM, 'CHROMIUM names no browser')
  let url
  let reported
  const report = new Promise(resolve => (reported = resolve))
  const server = http.createServer(async (request, response) => {
    if (request.url === '/report') {
      let text = ''
      for await (const chunk of request) text += chunk
      reported(text)
      return response.end()
    }
    if (request.url === '/') return response.setHeader('Content-Type', 'text/html').end(page(url))
    const file = new URL(`..${new URL(request.url, 'http://h').pathname}`, import.meta.url)
    response.setHeader('Content-Type', 'text/javascript').end(await readFile(file).catch(() => ''))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const origin = `http://127.0.0.1:${server.address().port}`
  url = await relay(t, `--allow-origin=${origin}`, '--auth-token=correct-horse-battery')
  const profile = await mkdtemp(path.join(tmpdir(), 'client-ts-'))
  const arguments_ = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage']
  const browser = spawn(process.env.CHROMIUM, [...arguments_, `--user-data-dir=${profile}`, `${origin}/`], { stdio: 'ignore' })
  t.after(async () => {
    const ended = once(browser, 'exit')
    browser.kill()
    await ended
    server.closeAllConnections()
    server.close()
    await rm(profile, { recursive: true, force: true, maxRetries: 10 })
  })
  assert.equal(await report, 'success')
})
