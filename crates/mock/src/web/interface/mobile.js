// The page for telephones: guests, to start and to shut down.
import { call, gettext, isLoggedIn, logout, session, translate } from './stand-in-session.js';
import { showLogin } from './stand-in-login.js';

const POLL_MS = 3000;
const at = (id) => document.getElementById(id);

function say(text) {
  at('message').textContent = text;
  at('message').hidden = !text;
}

function item({ vmid, name, node, type, status }) {
  const line = document.createElement('li');
  const mark = Object.assign(document.createElement('i'), { className: `mark ${status}` });
  const text = document.createElement('span');
  text.append(`${vmid} ${name}`);
  const button = document.createElement('button');
  const action = status === 'running' ? 'shutdown' : 'start';
  button.textContent = gettext(action === 'start' ? 'Start' : 'Shutdown');
  button.addEventListener('click', () => {
    say('');
    call('POST', `/nodes/${node}/${type}/${vmid}/status/${action}`).then(poll, (failure) => say(failure.message));
  });
  line.append(mark, text, button);
  return line;
}

async function poll() {
  if (!isLoggedIn()) {
    return;
  }
  try {
    const guests = await call('GET', '/cluster/resources', { type: 'vm' }, 'json');
    at('guests').replaceChildren(...guests.filter(({ template }) => !template).map(item));
  } catch (failure) {
    say(failure.message);
  }
}

at('logout').addEventListener('click', logout);
session.addEventListener('in', poll);
session.addEventListener('out', () => {
  at('guests').replaceChildren();
  showLogin();
});
translate();
setInterval(poll, POLL_MS);
if (isLoggedIn()) {
  poll();
} else {
  showLogin();
}
