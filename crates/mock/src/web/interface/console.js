// A console: the requests of noVNC or of xterm.js, without their pictures.
import { call } from './stand-in-session.js';

const asked = Object.fromEntries(new URLSearchParams(location.search));
const GUESTS = { kvm: 'qemu', lxc: 'lxc' };
const guest = GUESTS[asked.console];
const base = `/nodes/${asked.node}${guest ? `/${guest}/${asked.vmid}` : ''}`;
// What keeps a connection from being taken for dead.
const PING_MS = 30000;
// X11 key symbols of keys that are no character (RFC 6143 §7.5.4).
const KEY_SYMBOLS = { Enter: 0xff0d, Backspace: 0xff08, Tab: 0xff09, Escape: 0xff1b };

const screen = document.getElementById('screen');
const message = document.getElementById('message');
const text = new TextEncoder();

/** The socket of a console that has been opened for this page. */
function connect({ port, ticket }) {
  const query = new URLSearchParams({ port, vncticket: ticket });
  const url = `wss://${location.host}/api2/json${base}/vncwebsocket?${query}`;
  const socket = new WebSocket(url, 'binary');
  socket.binaryType = 'arraybuffer';
  return socket;
}

/** The end of a terminal: `user:ticket`, then commands `0:LENGTH:DATA`, `1:COLUMNS:ROWS:`, `2`. */
async function terminal() {
  const opened = await call('POST', `${base}/termproxy`);
  const socket = connect(opened);
  const decoder = new TextDecoder();
  let begun = false;
  socket.onopen = () => socket.send(text.encode(`${opened.user}:${opened.ticket}\n`));
  socket.onmessage = ({ data }) => {
    let shown = decoder.decode(data, { stream: true });
    if (!begun) {
      begun = shown.startsWith('OK');
      shown = shown.slice(2);
      message.textContent = 'Connected';
      socket.send(text.encode('1:80:24:'));
      setInterval(() => socket.send(text.encode('2')), PING_MS);
    }
    screen.append(shown.replaceAll('\r', '\n'));
  };
  screen.onkeydown = (event) => {
    const typed = event.key === 'Enter' ? '\r' : event.key;
    if (begun && [...typed].length === 1) {
      event.preventDefault();
      socket.send(text.encode(`0:${text.encode(typed).length}:${typed}`));
    }
  };
  return socket;
}

/** The end of a VNC connection (RFC 6143): version, then events of keys. */
async function viewer() {
  const socket = connect(await call('POST', `${base}/${guest ? 'vncproxy' : 'vncshell'}`, { websocket: 1 }));
  let received = 0;
  socket.onmessage = ({ data }) => {
    if (received === 0) {
      message.textContent = `Connected: ${new TextDecoder().decode(data).trim()}`;
      socket.send(data);
    }
    received += data.byteLength;
    screen.textContent = `${received} bytes`;
  };
  const key = (down) => (event) => {
    event.preventDefault();
    const symbol = KEY_SYMBOLS[event.key] ?? event.key.codePointAt(0);
    const view = new DataView(new ArrayBuffer(8));
    view.setUint8(0, 4);
    view.setUint8(1, down);
    view.setUint32(4, symbol);
    socket.send(view);
  };
  screen.onkeydown = key(1);
  screen.onkeyup = key(0);
  return socket;
}

try {
  const socket = await (asked.xtermjs ? terminal() : viewer());
  socket.onclose = ({ code }) => { message.textContent = `Disconnected (${code})`; };
  screen.focus();
} catch (failure) {
  message.textContent = failure.message;
}
document.title = `${asked.vmname ?? asked.node} - ${document.title}`;
