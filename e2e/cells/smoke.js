// Everything of Node.js that a cell should keep: what `cargo xtask calls` traces.
'use strict';
const assert = require('assert');
const crypto = require('crypto');
const dgram = require('dgram');
const dns = require('dns');
const fs = require('fs');
const http = require('http');
const net = require('net');
const os = require('os');
const path = require('path');
const zlib = require('zlib');
const { Worker } = require('worker_threads');
const { pipeline } = require('stream/promises');

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'smoke-'));
const at = (name) => path.join(folder, name);

async function files() {
  fs.writeFileSync(at('a'), 'x'.repeat(100000));
  fs.appendFileSync(at('a'), 'y');
  fs.copyFileSync(at('a'), at('b'));
  fs.renameSync(at('b'), at('c'));
  fs.linkSync(at('c'), at('d'));
  fs.symlinkSync('c', at('e'));
  fs.readlinkSync(at('e'));
  fs.realpathSync.native(at('e'));
  fs.chmodSync(at('c'), 0o600);
  fs.utimesSync(at('c'), 1, 1);
  fs.lutimesSync(at('e'), 1, 1);
  fs.truncateSync(at('c'), 10);
  fs.accessSync(at('c'));
  fs.existsSync(at('none'));
  fs.lstatSync(at('e'));
  fs.statfsSync?.(folder);
  fs.mkdirSync(at('f/g'), { recursive: true });
  fs.readdirSync(folder, { withFileTypes: true });
  fs.rmSync(at('f'), { recursive: true });
  fs.unlinkSync(at('d'));
  const file = fs.openSync(at('a'), 'r+');
  fs.readvSync(file, [Buffer.alloc(10), Buffer.alloc(10)]);
  fs.readvSync(file, [Buffer.alloc(10)], 5);
  fs.writevSync(file, [Buffer.alloc(10), Buffer.alloc(10)]);
  fs.writevSync(file, [Buffer.alloc(10)], 5);
  fs.readSync(file, Buffer.alloc(10), 0, 10, 3);
  fs.writeSync(file, Buffer.alloc(10), 0, 10, 3);
  fs.fchmodSync(file, 0o600);
  fs.futimesSync(file, 1, 1);
  fs.fdatasyncSync(file);
  fs.fsyncSync(file);
  fs.ftruncateSync(file, 50);
  fs.closeSync(file);
  const handle = await fs.promises.open(at('a'));
  await handle.stat();
  await handle.close();
  const seen = new Promise((resolve) => {
    const watcher = fs.watch(folder, () => { watcher.close(); resolve(); });
  });
  await fs.promises.writeFile(at('seen'), 'z');
  await seen;
  fs.watchFile(at('a'), { interval: 20 }, () => {});
  fs.unwatchFile(at('a'));
  await pipeline(fs.createReadStream(at('a')), zlib.createGzip(), fs.createWriteStream(at('z')));
}

async function network() {
  const server = http.createServer((request, response) => request.pipe(response));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${server.address().port}/`;
  if (globalThis.fetch) {
    const answer = await fetch(url, { method: 'POST', body: 'body' });
    assert.strictEqual(await answer.text(), 'body');
  }
  await new Promise((resolve, reject) => {
    http.get(url, { agent: new http.Agent({ keepAlive: true }) }, (answer) => {
      answer.resume().on('end', resolve);
    }).on('error', reject);
  });
  const socket = net.connect(server.address().port, '127.0.0.1');
  await new Promise((resolve) => socket.on('connect', resolve));
  socket.setNoDelay(true).setKeepAlive(true, 1000).setTimeout(1000);
  socket.destroy();
  server.closeAllConnections?.();
  await new Promise((resolve) => server.close(resolve));
  for (const [kind, address] of [['udp4', '127.0.0.1'], ['udp6', '::1']]) {
    await new Promise((resolve) => {
      const one = dgram.createSocket(kind);
      one.on('message', () => { one.close(); resolve(); });
      one.on('error', () => { one.close(); resolve(); });
      one.bind(0, address, () => one.send('x', one.address().port, address));
    });
  }
  await new Promise((resolve) => dns.lookup('localhost', { all: true }, resolve));
  os.networkInterfaces;
}

async function work() {
  const text = "require('worker_threads').parentPort.postMessage(Atomics.load(new Int32Array(new " +
    'SharedArrayBuffer(8)), 0))';
  const worker = new Worker(text, { eval: true });
  await new Promise((resolve) => worker.on('message', resolve));
  await worker.terminate();
  const wasm = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]);
  await WebAssembly.instantiate(wasm);
  crypto.randomBytes(64);
  crypto.generateKeyPairSync('ed25519');
  await new Promise((resolve) => crypto.pbkdf2('a', 'b', 1000, 32, 'sha256', resolve));
  zlib.brotliCompressSync('x'.repeat(10000));
  process.memoryUsage();
  process.cpuUsage();
  process.resourceUsage();
  process.hrtime.bigint();
  os.cpus(); os.loadavg(); os.totalmem(); os.freemem(); os.uptime(); os.hostname();
  os.getPriority(0);
  process.umask();
  process.title = 'smoke';
  process.on('SIGUSR2', () => {});
  process.kill(process.pid, 'SIGUSR2');
  await new Promise((resolve) => setTimeout(resolve, 20));
  await new Promise((resolve) => setImmediate(resolve));
  if (global.gc) global.gc();
  for (let i = 0; i < 200000; i++) JSON.parse('{"a":[1,2,3]}');
}

(async () => {
  try {
    await files();
    await network();
    await work();
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
  process.stdin.resume();
  process.stdin.on('end', () => console.log('smoke passed'));
})();
