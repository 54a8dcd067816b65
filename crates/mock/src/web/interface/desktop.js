// The page for large screens: what the cluster holds, polled as stock does; uploads, task logs,
// consoles.
import { call, gettext, isLoggedIn, logout, session, translate, upload } from './stand-in-session.js';
import { showLogin } from './stand-in-login.js';
import { at, fill, make, say } from './stand-in-view.js';

const POLL_MS = 3000;

const attempt = (act) => async (event) => {
  event?.preventDefault();
  try {
    say('');
    await act(event);
  } catch (failure) {
    say(failure.message);
  }
};

const row = (id, cells) => make('tr', cells.map((cell) => make('td', cell)), { id });

const percent = (part, whole) => (whole ? `${Math.round((100 * part) / whole)} %` : '');
const bar = (part, whole) =>
  whole ? [make('meter', [], { value: part / whole }), ` ${percent(part, whole)}`] : '';

/** Opens a console as stock does: in a window of its own, told everything in its query. */
function consoleLink(text, query) {
  const href = `/?${new URLSearchParams({ ...query, resize: 'off', cmd: '' })}`;
  return make('a', text, { href, target: '_blank', className: 'button' });
}

function actions(guest) {
  const { node, type, vmid, name, status, template } = guest;
  if ((type !== 'qemu' && type !== 'lxc') || template) {
    return [];
  }
  if (status !== 'running') {
    return [power(guest, 'start', gettext('Start'))];
  }
  const query = { console: type === 'qemu' ? 'kvm' : 'lxc', vmid, vmname: name, node };
  const viewer = type === 'qemu' ? { novnc: 1 } : { xtermjs: 1 };
  return [
    consoleLink(gettext('Console'), { ...query, ...viewer }),
    power(guest, 'shutdown', gettext('Shutdown')),
  ];
}

function power({ node, type, vmid }, action, text) {
  const path = `/nodes/${node}/${type}/${vmid}/status/${action}`;
  return make('button', text, { onclick: attempt(() => call('POST', path)) });
}

const title = ({ vmid, name, storage, sdn, node }) =>
  vmid ? `${vmid} (${name})` : storage ?? sdn ?? node;

function resourceRow(resource) {
  const { id, type, node, status, cpu, maxcpu, mem, maxmem } = resource;
  const mark = make('i', '', { className: `mark ${status ?? ''}`, title: status ?? '' });
  const load = maxcpu && status !== 'stopped' ? percent(cpu, 1) : '';
  return row(id, [mark, title(resource), type, node ?? '', load, bar(mem, maxmem), actions(resource)]);
}

function showResources(resources) {
  const shown = ({ id, name, status, cpu, mem }) => [id, name, status, cpu, mem];
  fill(at('resources'), resources, shown, resourceRow);
  const storages = resources.filter(({ type, content }) => type === 'storage' && /iso/.test(content));
  const places = storages.map(({ node, storage }) => `${node}/${storage}`);
  const option = (value) => make('option', value, { value });
  fill(at('upload').storage, places, (place) => place, option);
}

function taskRow({ upid, node, user, type, id, starttime, endtime, status }) {
  const log = `/api2/json/nodes/${node}/tasks/${encodeURIComponent(upid)}/log?download=1`;
  return row(upid, [
    new Date(starttime * 1000).toLocaleString(Proxmox.defaultLang.replace('_', '-')),
    node, user, `${type} ${id}`, endtime ? status : '…',
    make('a', gettext('Log'), { href: log, download: '' }),
  ]);
}

const showTasks = (tasks) => fill(at('tasks'), tasks, ({ upid, status }) => [upid, status], taskRow);

const LISTS = [['/cluster/resources', showResources], ['/cluster/tasks', showTasks]];

async function poll() {
  if (!isLoggedIn()) {
    return;
  }
  for (const [path, show] of LISTS) {
    await call('GET', path, {}, 'json').then(show, (failure) => say(failure.message));
  }
}

function begin() {
  say('');
  at('user').textContent = Proxmox.UserName;
  at('logout').hidden = false;
  poll();
}

function end() {
  at('user').textContent = '';
  at('logout').hidden = true;
  LISTS.forEach(([, show]) => show([]));
  showLogin();
}

at('logout').addEventListener('click', logout);
at('shell').replaceWith(consoleLink(gettext('Shell'), { console: 'shell', xtermjs: 1, node: Proxmox.NodeName }));
at('language').value = Proxmox.defaultLang;
at('language').addEventListener('change', (event) => {
  document.cookie = `PVELangCookie=${event.target.value}; path=/; secure; SameSite=Lax`;
  location.reload();
});
at('upload').addEventListener('submit', attempt(async () => {
  const form = at('upload');
  const progress = form.querySelector('progress');
  const [node, storage] = form.storage.value.split('/');
  progress.hidden = false;
  const shown = (part) => { progress.value = part; };
  await upload(node, storage, form.file.files[0], shown).finally(() => { progress.hidden = true; });
  form.file.value = '';
  await poll();
}));
session.addEventListener('in', begin);
session.addEventListener('out', end);
translate();
setInterval(poll, POLL_MS);
if (isLoggedIn()) {
  begin();
} else {
  end();
}
