// A table that sorts by any column, and keeps its rows, so that the focus stays where it is.

import { el, scrolling, text } from './dom.js';
import { exact, short } from './format.js';

// figure returns a column of figures.
export const figure = (label, of) => ({ label, number: true, value: of, show: row => [short(of(row)), exact(of(row))] });

// table returns {node, update(rows)}. A column has a label, value(row) to sort by, or none, and either
// show(row), which returns [text, title], or make(row), which returns a node once, and change(node, row).
// about are nodes between the heading and the table.
export function table({ caption, about = [], columns, key, empty }) {
	let sorted = null, down = false, rows = [];
	const lines = new Map();
	const body = el('tbody', { role: 'rowgroup' });
	const none = el('p', { class: 'soft' }, empty);
	const sort = c => { down = sorted === c ? !down : !!c.number; sorted = c; draw(); };
	const heads = columns.map(c => el('th', { scope: 'col', role: 'columnheader', class: c.number ? 'n' : null },
		c.value ? el('button', { onclick: () => sort(c) }, c.label) : c.label));
	const whole = el('table', { class: 'cards', role: 'table' },
		el('thead', { role: 'rowgroup' }, el('tr', { role: 'row' }, ...heads)), body);
	const scroll = scrolling(caption, whole);
	const node = el('div', {}, el('h3', {}, caption), ...about, scroll, none);

	const line = row => el('tr', { role: 'row' },
		...columns.map(c => el('td', { role: 'cell', 'data-label': c.label, class: c.number ? 'n' : null }, c.make?.(row))));

	function change(tr, row) {
		columns.forEach((c, i) => c.make ? c.change?.(tr.children[i].firstChild, row) : text(tr.children[i], ...c.show(row)));
	}

	function draw() {
		heads.forEach((th, i) => {
			const c = columns[i];
			if (!c.value) return;
			th.ariaSort = c !== sorted ? 'none' : down ? 'descending' : 'ascending';
			text(th.firstChild, c.label + (c !== sorted ? '' : down ? ' ↓' : ' ↑'));
		});
		const ordered = sorted ? [...rows].sort((a, b) => compare(sorted.value(a), sorted.value(b)) * (down ? -1 : 1)) : rows;
		const gone = new Set(lines.keys()), focused = document.activeElement;
		ordered.forEach((row, i) => {
			const k = key(row);
			gone.delete(k);
			if (!lines.has(k)) lines.set(k, line(row));
			const tr = lines.get(k);
			change(tr, row);
			if (body.children[i] !== tr) body.insertBefore(tr, body.children[i] || null);
		});
		if (body.contains(focused)) focused.focus({ preventScroll: true }); // a row that moves loses it
		for (const k of gone) { lines.get(k).remove(); lines.delete(k); }
		none.hidden = rows.length > 0;
		scroll.hidden = rows.length === 0;
	}
	return { node, update(all) { rows = all; draw(); } };
}

function compare(a, b) {
	if (typeof a === 'string' || typeof b === 'string') return String(a).localeCompare(String(b), undefined, { numeric: true });
	return (a ?? -1) - (b ?? -1);
}
