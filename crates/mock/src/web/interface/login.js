// The two windows of a login.
import { call, gettext, login } from './stand-in-session.js';

const dialog = document.getElementById('login');
const form = dialog.querySelector('form');
const alert = dialog.querySelector('[role=alert]');
const factor = document.getElementById('second-factor');

/** Asks for user and password until somebody is logged in. */
export async function showLogin() {
  if (dialog.open) {
    return;
  }
  alert.textContent = '';
  form.password.value = '';
  dialog.showModal();
  // Stock fills its list of realms: the first request after a logout, without a ticket.
  await call('GET', '/access/domains', {}, 'json').catch(() => {});
}

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  alert.textContent = '';
  try {
    await login(form.username.value, form.password.value, askCode);
    dialog.close();
  } catch (failure) {
    alert.textContent = gettext('Login failed. Please try again') + ` (${failure.message})`;
  }
});
dialog.addEventListener('cancel', (event) => event.preventDefault());

/** A code of six digits is one of an app, anything else a recovery key. */
function askCode() {
  const input = factor.querySelector('input');
  input.value = '';
  factor.returnValue = '';
  factor.showModal();
  return new Promise((resolve) => {
    factor.addEventListener('close', () => {
      const code = input.value.trim();
      resolve(code ? `${/^\d{6}$/.test(code) ? 'totp' : 'recovery'}:${code}` : null);
    }, { once: true });
  });
}
