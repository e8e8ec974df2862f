// The client against the real server.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import test from 'node:test'
import { ClaudeAgentClient } from '../dist/index.js'
import { relay } from './support/relay.js'

const TIMEOUT = { timeout: 60_000 }

/** A proxy whose connections can be cut, and led to another server. */
async function cuttable(t, target) {
  const sockets = new Set()
  const server = net.createServer(inner => {
    const { hostname, port } = new URL(target)
    const outer = net.connect(port, hostname)
    for (const [from, to] of [[inner, outer], [outer, inner]]) {
      sockets.add(from)
      from.on('error', () => {}).on('close', () => to.destroy()).pipe(to)
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => (sockets.forEach(socket => socket.destroy()), server.close()))
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    cut: () => sockets.forEach(socket => socket.destroy()),
    lead: to => (target = to),
  }
}

/** Collects messages, and waits for one. */
function collect(client) {
  const messages = []
  const waiters = new Set()
  client.onMessage(message => {
    messages.push(message)
    waiters.forEach(look => look())
  })
  const until = condition =>
    new Promise(resolve => {
      const look = () => {
        const found = messages.find(condition)
        if (found) (waiters.delete(look), resolve(found))
      }
      waiters.add(look)
      look()
    })
  return { messages, until }
}

const say = (client, content) =>
  client.send({
    type: 'user_message',
    data: { type: 'user', session_id: 's', parent_tool_use_id: null, message: { role: 'user', content } },
  })

const isResult = message => message.type === 'sdk_message' && message.data.type === 'result'

test('the documented program of the original client works', TIMEOUT, async t => {
  const client = new ClaudeAgentClient({
    connectionUrl: await relay(t),
    systemPrompt: 'You are terse.',
    allowedTools: ['Read'],
    model: 'sonnet',
  })
  await client.start()
  const { messages, until } = collect(client)
  say(client, 'Hello')
  await until(isResult)
  assert.equal(messages[0].type, 'connected')
  const unsubscribe = client.onMessage(() => assert.fail('it was taken away'))
  unsubscribe()
  say(client, 'Again')
  await until(message => isResult(message) && messages.filter(isResult).length === 2)
  await client.stop()
  assert.throws(() => say(client, 'Too late'), /not connected/)
})

test('the configuration is posted, and a refusal is an error', TIMEOUT, async t => {
  const url = await relay(t)
  const client = new ClaudeAgentClient({ connectionUrl: url, model: 'opus', maxTurns: 3 })
  await client.start()
  const { config } = await (await fetch(`${url}/config`)).json()
  assert.deepEqual(config, { model: 'opus', maxTurns: 3 })
  await client.stop()
  const wrong = new ClaudeAgentClient({ connectionUrl: url, allowedTools: 'Read' })
  await assert.rejects(wrong.start(), /configuration was refused: allowedTools/)
})

test('a token is sent, also from the address of the page', TIMEOUT, async t => {
  const url = await relay(t, '--auth-token=correct-horse-battery')
  for (const options of [
    { connectionUrl: url, token: 'correct-horse-battery' },
    { connectionUrl: `${url}/#token=correct-horse-battery` },
  ]) {
    const client = new ClaudeAgentClient(options)
    await client.start()
    await client.stop()
  }
  await assert.rejects(new ClaudeAgentClient({ connectionUrl: url }).start(), /refused \(401\)/)
})

test('a second client is refused with the reason', TIMEOUT, async t => {
  const url = await relay(t)
  const first = new ClaudeAgentClient({ connectionUrl: url })
  await first.start()
  const second = new ClaudeAgentClient({ connectionUrl: url })
  await assert.rejects(second.start(), /Server already has an active connection/)
  await first.stop()
})

test('a client that is refused has not changed the configuration', TIMEOUT, async t => {
  const url = await relay(t)
  const first = new ClaudeAgentClient({ connectionUrl: url, model: 'opus' })
  await first.start()
  const second = new ClaudeAgentClient({ connectionUrl: url, model: 'haiku' })
  await assert.rejects(second.start(), /already has an active connection/)
  const { config } = await (await fetch(`${url}/config`)).json()
  assert.deepEqual(config, { model: 'opus' })
  await first.stop()
})

test('a server that was started anew gets the configuration before what waits', TIMEOUT, async t => {
  const [before, after] = [await relay(t), await relay(t)]
  const { url, cut, lead } = await cuttable(t, before)
  const client = new ClaudeAgentClient({ connectionUrl: url, model: 'opus', anthropicApiKey: 'sk-ant-example' })
  await client.start()
  const { messages, until } = collect(client)
  lead(after)
  cut()
  const told = await until(message => message.type === 'configured')
  assert.deepEqual([told.config, told.secrets], [{ model: 'opus' }, ['anthropicApiKey']])
  // It is not said again to a server that has it.
  cut()
  await until(() => messages.filter(message => message.type === 'connected').length === 3)
  say(client, 'Hello')
  await until(isResult)
  assert.equal(messages.filter(message => message.type === 'configured').length, 1)
  await client.stop()
})

test('nothing is lost or doubled over broken connections', TIMEOUT, async t => {
  const { url, cut } = await cuttable(t, await relay(t))
  const client = new ClaudeAgentClient({ connectionUrl: url })
  await client.start()
  const { messages, until } = collect(client)
  say(client, JSON.stringify({ n: 400, size: 300, rate: 200 }))
  for (const at of [50, 150, 300]) {
    await until(() => messages.filter(message => message.type === 'sdk_message').length >= at)
    cut()
  }
  await until(isResult)
  const numbers = messages.flatMap(message => message.seq ?? [])
  assert.deepEqual(numbers, Array.from(numbers, (_, index) => numbers[0] + index))
  assert.ok(numbers.length >= 401, String(numbers.length))
  assert.ok(!messages.some(message => message.type === 'gap'))
  assert.ok(messages.filter(message => message.type === 'connected').length >= 2)
  await client.stop()
})

test('what is sent while the connection is broken arrives', TIMEOUT, async t => {
  const { url, cut } = await cuttable(t, await relay(t))
  const client = new ClaudeAgentClient({ connectionUrl: url })
  await client.start()
  const { messages, until } = collect(client)
  say(client, 'Hello')
  await until(isResult)
  cut()
  await new Promise(resolve => {
    const look = () => {
      // Until the end of the socket is seen, a message goes into it.
      if (messages.filter(message => message.type === 'connected').length > 1) return resolve()
      setImmediate(look)
    }
    look()
  })
  cut()
  await new Promise(resolve => setTimeout(resolve, 100))
  say(client, JSON.stringify({ echo: true }))
  await until(message => isResult(message) && messages.filter(isResult).length === 2)
  await client.stop()
})

test('a server that is gone for good is told', TIMEOUT, async t => {
  const { url, cut } = await cuttable(t, await relay(t))
  const client = new ClaudeAgentClient({ connectionUrl: url, reconnect: false })
  await client.start()
  const { until } = collect(client)
  cut()
  await until(message => message.type === 'error' && /has ended/.test(message.error))
  await client.stop()
})

test('permissions and control requests are answered', TIMEOUT, async t => {
  const client = new ClaudeAgentClient({ connectionUrl: await relay(t) })
  await client.start()
  const { until } = collect(client)
  say(client, JSON.stringify({ permission: 'Bash' }))
  const asked = await until(message => message.type === 'permission_request')
  client.send({ type: 'permission_response', requestId: asked.requestId, approved: true })
  await until(isResult)
  client.send({ type: 'control_request', requestId: '1', request: { subtype: 'set_model', model: 'opus' } })
  const answer = await until(message => message.type === 'control_response')
  assert.equal(answer.requestId, '1')
  await client.stop()
})

test('files are written, read, listed, watched and removed', TIMEOUT, async t => {
  const client = new ClaudeAgentClient({ connectionUrl: await relay(t) })
  await assert.rejects(client.listFiles(), /call start/)
  await client.start()
  t.after(() => client.stop())
  const seen = []
  let exit
  const exited = new Promise(resolve => (exit = resolve))
  let created
  const isCreated = new Promise(resolve => (created = resolve))
  const options = { onExit: exit }
  await client.writeFile('notes/ä b.txt', 'one')
  const watch = await client.watchDir('notes', event => (seen.push(event), created()), options)
  await client.writeFile('./notes/below/deep.txt', 'not told')
  await client.writeFile('/home/user/agent-workspace/notes/c.bin', new Uint8Array([0, 255]))
  await isCreated
  assert.equal(await client.readFile('notes/ä b.txt'), 'one')
  assert.deepEqual([...(await client.readFile('notes/c.bin', 'bytes'))], [0, 255])
  assert.equal((await client.readFile('notes/c.bin', 'blob')).size, 2)
  const names = (await client.listFiles('notes')).map(entry => `${entry.type} ${entry.name}`)
  assert.deepEqual(names, ['directory below', 'file c.bin', 'file ä b.txt'])
  assert.deepEqual((await client.listFiles()).map(entry => entry.name), ['notes'])
  await client.removeFile('notes/c.bin')
  await watch.stop()
  assert.equal(await exited, undefined)
  assert.ok(seen.every(event => !event.name.includes('deep')), JSON.stringify(seen))
  await assert.rejects(client.readFile('notes/c.bin'), /404/)
  await assert.rejects(client.listFiles('notes/ä b.txt'), /no directory/)
  await assert.rejects(client.readFile('/etc/passwd'), /outside of the workspace/)
  await assert.rejects(client.readFile('../config'), /outside of the workspace/)
  await assert.rejects(client.writeFile('.env', 'A=1'), /403/)
})
