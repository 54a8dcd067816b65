// Waits in a slot for a script and becomes it. Descriptor 3 gives the call, 4 says that this waits.
'use strict';
const fs = require('fs');
const path = require('path');
const vm = require('vm');
const Module = require('module');

// What a command uses first is made now.
void process.stdout;
void process.stderr;
new vm.Script('0', { filename: 'park' });

function read(length) {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length;) {
    const count = fs.readSync(3, bytes, at, length - at, null);
    if (count === 0) process.exit(125);
    at += count;
  }
  return bytes;
}

fs.writeSync(4, 'r');
fs.closeSync(4);
const call = JSON.parse(read(read(4).readUInt32LE(0)).toString());
fs.closeSync(3);

for (const [name, value] of call.environment) process.env[name] = value;
delete require.cache[__filename];
process.argv.length = 1;

if (call.code === null) {
  const [script, ...rest] = call.arguments;
  process.argv.push(path.resolve(script), ...rest);
  Module.runMain(process.argv[1]);
} else {
  process.argv.push(...call.arguments);
  process._eval = call.code;
  process.execArgv.push(call.print ? '-p' : '-e', call.code);
  process.mainModule = undefined;
  const own = new Module('[eval]');
  own.filename = path.join(process.cwd(), '[eval]');
  own.paths = Module._nodeModulePaths(process.cwd());
  globalThis.module = own;
  globalThis.exports = own.exports;
  globalThis.__filename = '[eval]';
  globalThis.__dirname = '.';
  globalThis.require = Module.createRequire(own.filename);
  for (const name of Module.builtinModules) {
    if (/[/_]/.test(name) || name in globalThis) continue;
    const set = (value) => Object.defineProperty(globalThis, name, { value, writable: true });
    const get = () => { const value = globalThis.require(name); set(value); return value; };
    Object.defineProperty(globalThis, name, { get, set, configurable: true });
  }
  const result = vm.runInThisContext(call.code, { filename: '[eval]' });
  if (call.print) console.log(result);
}
