// Writes the types of src/wire from the schemas of docs/schema:
//   npm run types            write them
//   npm run types -- --check fail if they are old
import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { compileFromFile } from 'json-schema-to-typescript'

const style = { semi: false, singleQuote: true, printWidth: 100 }
const bannerComment = '/** Generated from docs/schema by `npm run types`. */'
const check = process.argv.includes('--check')

for (const name of ['client-message', 'server-message', 'config']) {
  const schema = fileURLToPath(new URL(`../docs/schema/${name}.json`, import.meta.url))
  const file = new URL(`src/wire/${name}.ts`, import.meta.url)
  // An agent's message has fields of many kinds: `any` lets a program read on.
  const text = await compileFromFile(schema, { bannerComment, style, unknownAny: false })
  if (!check) await writeFile(file, text)
  else if ((await readFile(file, 'utf8')) !== text)
    throw new Error(`src/wire/${name}.ts is old: npm run types --prefix client-ts`)
}
