// Runs a binary of the package for this platform, which npm has installed beside
// this one.
const { spawn } = require('node:child_process')
const os = require('node:os')

const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1']

function find(name) {
  const platform = `claude-relay-${process.platform}-${process.arch}`
  // npm installs the one that fits where it knows the C library, else both; the
  // one for musl is static and runs everywhere.
  const isMusl = process.platform === 'linux' && !process.report.getReport().header.glibcVersionRuntime
  for (const candidate of isMusl ? [`${platform}-musl`] : [platform, `${platform}-musl`]) {
    try {
      return require.resolve(`${candidate}/bin/${name}`)
    } catch {}
  }
  console.error(`claude-relay: there is no binary for ${process.platform} ${process.arch}, or npm was told to leave optional dependencies out: install it again without --omit=optional`)
  process.exit(1)
}

module.exports = name => {
  const program = find(name)
  const args = process.argv.slice(2)
  // Where Node can, it becomes the program: nothing is in between.
  if (process.execve) process.execve(program, [program, ...args])
  const child = spawn(program, args, { stdio: 'inherit' })
  for (const signal of FORWARDED) process.on(signal, () => child.kill(signal))
  child.on('error', error => {
    console.error(`claude-relay: ${program} cannot be started: ${error.message}`)
    process.exit(1)
  })
  child.on('exit', (code, signal) => process.exit(code ?? 128 + os.constants.signals[signal]))
}
