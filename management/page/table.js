// A table that sorts by any column, and keeps its rows, so that the focus stays where it is.

import { el, text } from './dom.js';
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
	const none = el('p', { class: 'soft' }, empty || 'None.');
	const heads = columns.map(c => {
		const th = el('th', { scope: 'col', role: 'columnheader', class: c.number ? 'n' : null });
		if (!c.value) return th.append(c.label), th;
		th.append(el('button', { onclick: () => { down = sorted === c ? !down : !!c.number; sorted = c; draw(); } }, c.label));
		return th;
	});
	const whole = el('table', { class: 'cards', role: 'table' },
		el('thead', { role: 'rowgroup' }, el('tr', { role: 'row' }, ...heads)), body);
	const scroll = el('div', { class: 'scroll', role: 'region', 'aria-label': caption, tabindex: 0 }, whole);
	const node = el('div', {}, el('h3', {}, caption), ...about, scroll, none);

	function line(row) {
		const cells = columns.map(c => el('td', { role: 'cell', 'data-label': c.label, class: c.number ? 'n' : null }, c.make ? c.make(row) : ''));
		return { tr: el('tr', { role: 'row' }, ...cells), cells };
	}

	function change(l, row) {
		columns.forEach((c, i) => {
			const cell = l.cells[i];
			if (c.make) { c.change?.(cell.firstChild, row); return; }
			const [shown, title] = c.show(row);
			text(cell, shown, title);
			cell.classList.toggle('empty', shown === '');
		});
	}

	function draw() {
		heads.forEach((th, i) => {
			if (columns[i].value) th.setAttribute('aria-sort', columns[i] !== sorted ? 'none' : down ? 'descending' : 'ascending');
			const button = th.firstElementChild;
			if (button) text(button, columns[i].label + (columns[i] !== sorted ? '' : down ? ' ↓' : ' ↑'));
		});
		const ordered = sorted ? [...rows].sort((a, b) => compare(sorted.value(a), sorted.value(b)) * (down ? -1 : 1)) : rows;
		const gone = new Set(lines.keys());
		ordered.forEach((row, i) => {
			const k = key(row);
			gone.delete(k);
			if (!lines.has(k)) lines.set(k, line(row));
			const l = lines.get(k);
			change(l, row);
			if (body.children[i] !== l.tr) body.insertBefore(l.tr, body.children[i] || null);
		});
		for (const k of gone) { lines.get(k).tr.remove(); lines.delete(k); }
		none.hidden = rows.length > 0;
		scroll.hidden = rows.length === 0;
	}
	return { node, update(all) { rows = all; draw(); } };
}

function compare(a, b) {
	if (typeof a === 'string' || typeof b === 'string') return String(a).localeCompare(String(b), undefined, { numeric: true });
	return (a ?? -1) - (b ?? -1);
}
