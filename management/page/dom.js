// Elements. What comes from outside gets into the page as text by these, never as markup.

import { exact, short } from './format.js';

// el makes an element: attributes by name, on… as listeners, children as nodes or texts.
export const el = (name, ...rest) => fill(document.createElement(name), ...rest);
export const svg = (name, ...rest) => fill(document.createElementNS('http://www.w3.org/2000/svg', name), ...rest);

function fill(node, attributes = {}, ...children) {
	for (const [key, value] of Object.entries(attributes)) {
		if (key.startsWith('on')) node[key] = value;
		else if (value != null && value !== false) node.setAttribute(key, value === true ? '' : value);
	}
	node.append(...children.filter(c => c != null));
	return node;
}

// scrolling makes a part that scrolls sideways.
export const scrolling = (label, ...children) => el('div', { class: 'scroll', role: 'region', 'aria-label': label, tabindex: 0 }, ...children);

// text changes the text of an element where it differs, so that a reader's selection elsewhere stays.
export function text(node, value, title = '') {
	value = String(value);
	const was = node.textContent, most = Math.min(was.length, value.length);
	let same = 0, after = 0;
	while (same < most && was[same] === value[same]) same++;
	while (after < most - same && was.at(-1 - after) === value.at(-1 - after)) after++;
	if (!node.firstChild) node.append('');
	if (was !== value) node.firstChild.replaceData(same, was.length - same - after, value.slice(same, value.length - after));
	if (node.title !== title) node.title = title;
}

export const byId = id => document.getElementById(id);

// facts fills a list of facts: [name, text, title], or [name, number].
export function facts(dl, all) {
	const known = new Map([...dl.children].map(d => [d.firstChild.textContent, d]));
	for (const [name, value, title] of all.filter(f => f)) {
		let d = known.get(name);
		if (!d) dl.append(d = el('div', {}, el('dt', {}, name), el('dd')));
		known.delete(name);
		typeof value === 'number' ? text(d.lastChild, short(value), exact(value)) : text(d.lastChild, value, title);
	}
	for (const gone of known.values()) gone.remove();
}
