// What of the stock interface talks to the server: ticket cookie, CSRF token, login with a second
// factor, renewal, logout.
const COOKIE = Proxmox.Setup.auth_cookie_name;
// The stock interface's own; `?renew=SECONDS` shortens it for tests.
const RENEW_SECONDS = Number(new URLSearchParams(location.search).get('renew')) || 15 * 60;

/** Why a call did not succeed. */
export class Failure extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** Fires `in`, `renewed` and `out`. */
export const session = new EventTarget();

/** The text in the user's language. */
export const gettext = (text) => globalThis.catalog?.[text] ?? text;

/** Writes the texts of a page that stand in its `data-text`. */
export function translate() {
  for (const element of document.querySelectorAll('[data-text]')) {
    element.textContent = gettext(element.dataset.text);
  }
}

/** The ticket in the cookie, or null. */
export function ticket() {
  const pair = document.cookie.split('; ').find((pair) => pair.startsWith(`${COOKIE}=`));
  return pair ? decodeURIComponent(pair.slice(COOKIE.length + 1)) || null : null;
}

export const isLoggedIn = () => Boolean(Proxmox.UserName && ticket());

/** A call of the API; what it answers in `data`. A 401 ends the session. */
export async function call(verb, path, parameters = {}, format = 'extjs') {
  const form = new URLSearchParams(parameters);
  const request = { method: verb, headers: { CSRFPreventionToken: Proxmox.CSRFPreventionToken } };
  let url = `/api2/${format}${path}`;
  if (verb === 'POST' || verb === 'PUT') {
    request.body = form;
  } else {
    form.set('_dc', Date.now());
    url += `?${form}`;
  }
  const response = await fetch(url, request);
  const answer = await response.json().catch(() => ({}));
  return accepted(answer, response.status, response.statusText);
}

/** Sends a file, with the progress from 0 to 1; as stock, without the CSRF token. */
export function upload(node, storage, file, progress) {
  const form = new FormData();
  form.append('content', file.name.match(/\.(iso|img)$/i) ? 'iso' : 'vztmpl');
  form.append('filename', file, file.name);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('POST', `/api2/json/nodes/${node}/storage/${storage}/upload`);
    request.responseType = 'json';
    request.upload.onprogress = (event) => progress(event.loaded / event.total);
    request.onerror = () => reject(new Failure(gettext('Connection failed'), 0));
    request.onload = () => {
      try {
        resolve(accepted(request.response ?? {}, request.status, request.statusText));
      } catch (failure) {
        reject(failure);
      }
    };
    request.send(form);
  });
}

/** Logs in; `askCode` gets the challenge and answers `totp:…`, `recovery:…`, or null. */
export async function login(username, password, askCode) {
  const open = (parameters) => call('POST', '/access/ticket', { username, ...parameters });
  let data = await open({ password });
  if (data.ticket.startsWith('PVE:!tfa!')) {
    const challenge = decodeURIComponent(data.ticket.split(':')[1].slice('!tfa!'.length));
    const answer = await askCode(JSON.parse(challenge));
    data = await open({ 'tfa-challenge': data.ticket, password: answer ?? '' });
  }
  keep(data);
  session.dispatchEvent(new Event('in'));
}

/** Gets a new ticket for the one in the cookie. */
export async function renew() {
  if (isLoggedIn()) {
    const parameters = { username: Proxmox.UserName, password: ticket() };
    keep(await call('POST', '/access/ticket', parameters));
    session.dispatchEvent(new Event('renewed'));
  }
}

/** Forgets the session; the server is told nothing. */
export function logout() {
  document.cookie = `${COOKIE}=; path=/; secure; SameSite=Lax; expires=Thu, 01 Jan 1970 00:00:00 GMT`;
  Object.assign(Proxmox, { UserName: '', CSRFPreventionToken: 'null' });
  session.dispatchEvent(new Event('out'));
}

function accepted(answer, httpStatus, statusText) {
  const failed = httpStatus !== 200 || answer.success === 0;
  if (!failed) {
    return answer.data;
  }
  const status = Number(answer.status ?? httpStatus);
  if (status === 401 && Proxmox.UserName) {
    logout();
  }
  throw new Failure((answer.message || statusText || `error ${status}`).trim(), status);
}

// Of a ticket only `:` and `=` are encoded, as the stock interface has it.
function keep({ username, ticket, CSRFPreventionToken }) {
  Object.assign(Proxmox, { UserName: username, CSRFPreventionToken });
  const value = encodeURIComponent(ticket).replace(/%(40|2F|2B)/g, decodeURIComponent);
  document.cookie = `${COOKIE}=${value}; path=/; secure; SameSite=Lax`;
}

setInterval(() => renew().catch(() => {}), RENEW_SECONDS * 1000);
