// The page for telephones: guests, to start and to shut down.
import { call, gettext, isLoggedIn, logout, session, translate } from './stand-in-session.js';
import { showLogin } from './stand-in-login.js';
import { at, fill, make, say } from './stand-in-view.js';

const POLL_MS = 3000;

function item({ vmid, name, node, type, status }) {
  const action = status === 'running' ? 'shutdown' : 'start';
  const path = `/nodes/${node}/${type}/${vmid}/status/${action}`;
  const onclick = () => {
    say('');
    call('POST', path).then(poll, (failure) => say(failure.message));
  };
  return make('li', [
    make('i', '', { className: `mark ${status}` }),
    make('span', `${vmid} (${name})`),
    make('button', gettext(action === 'start' ? 'Start' : 'Shutdown'), { onclick }),
  ]);
}

async function poll() {
  if (!isLoggedIn()) {
    return;
  }
  try {
    const guests = await call('GET', '/cluster/resources', { type: 'vm' }, 'json');
    const shown = ({ vmid, name, node, status }) => [vmid, name, node, status];
    fill(at('guests'), guests.filter(({ template }) => !template), shown, item);
  } catch (failure) {
    say(failure.message);
  }
}

at('logout').addEventListener('click', logout);
session.addEventListener('in', poll);
session.addEventListener('out', () => {
  fill(at('guests'), []);
  showLogin();
});
translate();
setInterval(poll, POLL_MS);
if (isLoggedIn()) {
  poll();
} else {
  showLogin();
}
