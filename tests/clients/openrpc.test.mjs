// rpc.discover against the schema that the OpenRPC project publishes.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { Ajv } from 'ajv';
import WebSocket from 'ws';
import { startDaemon } from './daemon.mjs';
import { Rpc } from './rpc.mjs';

const require = createRequire(import.meta.url);
let daemon, discovered;
before(async () => {
  daemon = await startDaemon('--no-auth');
  const rpc = await Rpc.open(new WebSocket(daemon.url));
  discovered = await rpc.call('rpc.discover');
  await rpc.close();
}, { timeout: 60_000 });
after(() => daemon?.stop());

/**
 * The two published schemas refer to each other by a bare host, once with and once without the closing slash, and name
 * themselves as their own schema. The validator takes these for different documents; so both get one spelling.
 */
function published(name) {
  const module = require(name);
  const schema = JSON.parse(JSON.stringify(module.default ?? module).replaceAll(/https:\/\/meta\.json-schema\.tools\/?/g, 'https://meta.json-schema.tools/schema'));
  delete schema.$schema;
  return schema;
}

test('the OpenRPC document validates against the OpenRPC meta-schema', () => {
  const validator = new Ajv({ strict: false, allErrors: true, validateFormats: false });
  validator.addSchema(published('@json-schema-tools/meta-schema'));
  const valid = validator.compile(published('@open-rpc/meta-schema'));
  assert.ok(valid(discovered), validator.errorsText(valid.errors, { separator: '\n' }));
});

test('the OpenRPC document is of version 1.3 and names every method once', () => {
  assert.match(discovered.openrpc, /^1\.3\./);
  const names = discovered.methods.map((m) => m.name);
  assert.deepEqual([...new Set(names)], names);
});

test('the JSON Schemas of the OpenRPC document are ones a validator can compile', () => {
  const validator = new Ajv({ strict: false, validateFormats: false });
  for (const method of discovered.methods) {
    for (const descriptor of [...method.params, method.result]) {
      if (descriptor?.schema === undefined) continue;
      const schema = typeof descriptor.schema === 'boolean' ? descriptor.schema : { ...descriptor.schema, components: discovered.components };
      assert.doesNotThrow(() => validator.compile(schema), `${method.name}: ${descriptor.name}`);
    }
  }
});
