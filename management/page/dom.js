// Elements. Whatever comes from outside gets into the page as text by way of these, never as markup.

// el makes an element: attributes by name, on… as listeners, children as nodes or texts.
export function el(name, attributes = {}, ...children) {
	return fill(document.createElement(name), attributes, children);
}

// svg makes an element of SVG.
export function svg(name, attributes = {}, ...children) {
	return fill(document.createElementNS('http://www.w3.org/2000/svg', name), attributes, children);
}

function fill(node, attributes, children) {
	for (const [key, value] of Object.entries(attributes)) {
		if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
		else if (value === true) node.setAttribute(key, '');
		else if (value != null && value !== false) node.setAttribute(key, value);
	}
	node.append(...children.filter(c => c != null && c !== ''));
	return node;
}

// text changes the text of an element where it differs, so that a reader's selection stays.
export function text(node, value, title = '') {
	value = String(value);
	if (node.textContent !== value) node.textContent = value;
	if (node.title !== title) node.title = title;
}

export const byId = id => document.getElementById(id);

// facts fills a list of facts: [name, text, title], or [name, node].
export function facts(dl, all) {
	const known = new Map([...dl.children].map(d => [d.firstChild.textContent, d]));
	for (const [name, value, title] of all) {
		let d = known.get(name);
		if (!d) dl.append(d = el('div', {}, el('dt', {}, name), el('dd')));
		known.delete(name);
		if (value instanceof Node) d.lastChild.replaceChildren(value);
		else text(d.lastChild, value, title);
	}
	for (const gone of known.values()) gone.remove();
}
