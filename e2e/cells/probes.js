// Escape attempts through Node.js. Each prints one line: case, name, and "did" or the error's code.
// A name that begins with "+" has to work inside as outside.
//
// Environment as for probes.c, with OPEN_PORT (a listener the policy allows), CLOSED_PORT (one it
// does not), OPEN_UDP and CLOSED_UDP.
'use strict';
const fs = require('fs'), net = require('net'), dgram = require('dgram'), path = require('path');
const os = require('os'), child = require('child_process');
const { HOST_FILE, HOST_DIR, HOST_SOCKET, CELL, SCRATCH, ADDON } = process.env;
const OPEN = +process.env.OPEN_PORT, CLOSED = +process.env.CLOSED_PORT;
const OPEN_UDP = +process.env.OPEN_UDP, CLOSED_UDP = +process.env.CLOSED_UDP;

const say = (id, name, result) => console.log(`${id}\t${name}\t${result}`);
const code = (e) => (e && (e.code || e.name)) || 'ERROR';
async function attempt(id, name, act) {
  try { const r = await act(); say(id, name, r === false ? 'NOTHING' : 'did'); }
  catch (e) { say(id, name, code(e)); }
}
const once = (emitter, good, ms = 3000) => new Promise((yes, no) => {
  const timer = setTimeout(() => no({ code: 'TIMEOUT' }), ms);
  emitter.once(good, (v) => { clearTimeout(timer); yes(v); });
  emitter.once('error', (e) => { clearTimeout(timer); no(e); });
});
const tcp = async (host, port) => { const s = net.connect({ host, port, autoSelectFamily: false }); try { await once(s, 'connect'); } finally { s.destroy(); } };
const udp = (host, port) => new Promise((yes, no) => {
  const s = dgram.createSocket('udp4');
  s.on('error', (e) => { s.close(); no(e); });
  s.send('x', port, host, (e) => { if (e) { s.close(); no(e); } });
  s.once('message', () => { s.close(); yes(); });
  setTimeout(() => { try { s.close(); } catch { } no({ code: 'TIMEOUT' }); }, 1500).unref();
});
const spawned = (c) => once(c, 'exit');
const listening = async (where) => { const s = net.createServer(); s.listen(where); try { await once(s, 'listening'); } finally { s.close(); } };

const attempts = [
  // files
  [1, 'read a relative path', () => fs.readFileSync(path.join('../../../../../..', HOST_FILE))],
  [2, 'read an absolute path', () => fs.readFileSync(HOST_FILE)],
  [3, 'follow an own link', () => { const l = path.join(SCRATCH, 'js-link'); fs.rmSync(l, { force: true }); fs.symlinkSync(HOST_FILE, l); return fs.readFileSync(l); }],
  [4, 'follow a planted link', () => fs.readFileSync(path.join(CELL, 'planted'))],
  [5, 'read through /proc/self/root', () => fs.readFileSync('/proc/self/root' + HOST_FILE)],
  [7, 'list the parent', () => fs.readdirSync('/proc/self/cwd/..')],
  [10, 'link from outside', () => { const l = path.join(HOST_DIR, 'js-hard'); fs.linkSync(HOST_FILE, l); fs.rmSync(l); }],
  [11, 'rename to outside', () => { const f = path.join(CELL, 'js-moved'); fs.writeFileSync(f, ''); fs.renameSync(f, path.join(HOST_DIR, 'js-moved')); fs.rmSync(path.join(HOST_DIR, 'js-moved')); }],
  [13, 'stat outside', () => fs.statSync(HOST_FILE)],
  [13, 'exists outside', () => fs.existsSync(HOST_FILE)],
  [13, 'realpath outside', () => fs.realpathSync.native(HOST_FILE)],
  [13, 'watch outside', () => fs.watch(HOST_DIR).close()],
  [14, 'chmod outside', () => fs.chmodSync(HOST_FILE, 0o644)],
  [14, 'utimes outside', () => fs.utimesSync(HOST_FILE, 1, 1)],
  [15, 'truncate outside', () => fs.truncateSync(HOST_FILE, 6)],
  [25, 'set-user-id bit', () => fs.chmodSync(path.join(CELL, 'own'), 0o4755)],
  [30, '+watch within', async () => { const w = fs.watch(SCRATCH); setTimeout(() => fs.writeFileSync(path.join(SCRATCH, 'watched'), ''), 50); try { await once(w, 'change'); } finally { w.close(); } }],
  [35, '+odd names', () => { for (const n of ['\u202e', 'é', '..x', 'a:b', '\\', '-rf', ' ', 'x'.repeat(255)]) { const f = path.join(SCRATCH, n); fs.writeFileSync(f, n); if (fs.readFileSync(f, 'utf8') !== n) return false; fs.rmSync(f); } }],
  // network
  [38, '127.0.0.1 of the host', () => tcp('127.0.0.1', CLOSED)],
  [41, '0.0.0.0', () => tcp('0.0.0.0', CLOSED)],
  [42, '::ffff:127.0.0.1', () => tcp('::ffff:127.0.0.1', CLOSED)],
  [43, 'decimal 2130706433', () => tcp('2130706433', CLOSED)],
  [43, 'octal 0177.0.0.1', () => tcp('0177.0.0.1', CLOSED)],
  [43, 'short 127.1', () => tcp('127.1', CLOSED)],
  [44, '127.0.0.2', () => tcp('127.0.0.2', CLOSED)],
  [47, '+the allowed address and port', () => tcp('127.0.0.1', OPEN)],
  [48, 'the allowed port elsewhere', () => tcp('127.0.0.3', OPEN)],
  [47, '+the allowed UDP port', () => udp('127.0.0.1', OPEN_UDP)],
  [49, 'another UDP port', () => udp('127.0.0.1', CLOSED_UDP)],
  [56, 'unix socket by path', async () => { const s = net.connect(HOST_SOCKET); try { await once(s, 'connect'); } finally { s.destroy(); } }],
  [22, 'unix socket of its own', () => listening(path.join(SCRATCH, 'socket'))],
  [57, 'abstract unix socket', async () => { const s = net.connect('\0proxward-probe'); try { await once(s, 'connect'); } finally { s.destroy(); } }],
  [54, 'interfaces', () => Object.keys(os.networkInterfaces()).length > 0],
  [62, '+port 0 within', () => listening(0)],
  // Before a start fails: that leaves Node.js 24 a list of handles that is a ring, and a report
  // walks it for ever.
  [106, '+report into scratch', () => { process.report.directory = SCRATCH; process.report.excludeNetwork = true; return fs.existsSync(path.join(SCRATCH, process.report.writeReport('report.json') && 'report.json')); }],
  // processes
  [73, 'spawn', () => spawned(child.spawn('/bin/true'))],
  [73, 'exec', () => spawned(child.exec('true'))],
  [73, 'execFileSync', () => child.execFileSync('/bin/true')],
  [73, 'fork', () => spawned(child.fork('/nonexistent.js', { silent: true }))],
  [73, 'own program again', () => child.execFileSync(process.execPath, ['-e', '0'])],
  [73, 'cluster', async () => { const c = require('cluster'); c.setupPrimary({ exec: '/nonexistent.js', silent: true }); return spawned(c.fork().process); }],
  [78, 'kill process 1', () => process.kill(1, 0)],
  [78, 'kill everybody', () => process.kill(-1, 0)],
  [78, 'kill the group', () => process.kill(0, 0)],
  [79, '+kill itself with 0', () => process.kill(process.pid, 0)],
  [80, 'setuid', () => { if (process.getuid() === 0) return; process.setuid(process.getuid() + 1); }],
  [80, 'setgroups', () => process.setgroups([process.getgid()])],
  [80, 'initgroups', () => process.initgroups('root', 0)],
  [81, 'chdir', () => process.chdir('.')],
  [90, 'priority of another', () => os.setPriority(1, os.getPriority(1))],
  // code
  [97, 'add-on of the directory', () => { const m = { exports: {} }; process.dlopen(m, path.join(CELL, 'addon.node')); return m.exports !== undefined; }],
  [97, 'add-on of scratch', () => { const f = path.join(SCRATCH, 'addon.node'); fs.copyFileSync(path.join(CELL, 'addon.node'), f); fs.chmodSync(f, 0o755); process.dlopen({ exports: {} }, f); }],
  [97, 'add-on by descriptor', () => { const fd = fs.openSync(path.join(CELL, 'addon.node')); process.dlopen({ exports: {} }, `/proc/self/fd/${fd}`); }],
  [100, 'write own memory', () => fs.openSync('/proc/self/mem', 'r+')],
  [102, '+WebAssembly', () => new WebAssembly.Module(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0))],
  [103, '+worker_threads', async () => { const { Worker } = require('worker_threads'); const w = new Worker('require("worker_threads").parentPort.postMessage(1)', { eval: true }); await once(w, 'message', 8000); await w.terminate(); }],
  [104, 'WASI with / opened', () => { const { WASI } = require('wasi'); new WASI({ version: 'preview1', preopens: { '/': HOST_DIR } }); return fs.readdirSync(HOST_DIR).length > 0; }],
  // what has to go on working
  [30, '+crypto', () => require('crypto').scryptSync('a', 'b', 32)],
  [30, '+zlib', () => require('zlib').gunzipSync(require('zlib').gzipSync('a'))],
  [30, '+files', async () => { const f = path.join(SCRATCH, 'f'); await fs.promises.writeFile(f, 'x'); await fs.promises.copyFile(f, f + 2); await fs.promises.rename(f, f + 3); await fs.promises.mkdir(path.join(SCRATCH, 'd', 'e'), { recursive: true }); await fs.promises.rm(path.join(SCRATCH, 'd'), { recursive: true }); }],
  [30, '+http and fetch', async () => { const http = require('http'); const s = http.createServer((q, r) => r.end('ok')).listen(0, '127.0.0.1'); await once(s, 'listening'); try { const r = await fetch(`http://127.0.0.1:${s.address().port}/`); return (await r.text()) === 'ok'; } finally { s.closeAllConnections(); s.close(); } }],
  [30, '+dgram', async () => { const a = dgram.createSocket('udp4'); a.bind(0, '127.0.0.1'); await once(a, 'listening'); const b = dgram.createSocket('udp4'); b.bind(0, '127.0.0.1'); await once(b, 'listening'); b.send('x', a.address().port, '127.0.0.1'); try { await once(a, 'message'); } finally { a.close(); b.close(); } }],
];

process.on('uncaughtException', (e) => say('0', 'uncaught', code(e)));
(async () => {
  fs.writeFileSync(path.join(CELL, 'own'), '');
  for (const [id, name, act] of attempts) await attempt(id, name, act);
  process.exit(0);
})();
