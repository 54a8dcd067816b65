// What the pages are made with.
export const at = (id) => document.getElementById(id);

/** Says what went wrong, or nothing more of it. */
export function say(text) {
  at('message').textContent = text;
  at('message').hidden = !text;
}

/** An element with text, or with other elements in it. */
export function make(name, content = [], properties = {}) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...[content].flat());
  return element;
}

/** Fills a list. Where nothing changes nothing is touched: somebody may be clicking on it. */
export function fill(list, entries, shown, build) {
  const texts = entries.map((entry) => JSON.stringify(shown(entry)));
  if (list.dataset.shown !== texts.join()) {
    list.dataset.shown = texts.join();
    list.replaceChildren(...entries.map(build));
  }
}
