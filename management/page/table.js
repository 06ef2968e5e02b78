// A table that sorts by any column, and keeps its rows, so that the focus stays. An update
// changes the rows in view, and of the others 100 in turn.

import { el, scrolling, text } from './dom.js';
import { exact, short } from './format.js';

export const figure = (label, of) => ({ label, kind: 'n', value: of, show: row => [short(of(row)), exact(of(row))] });

// table returns {node, update(rows)}. A column has a label, value(row) to sort by, or none, and either
// show(row), which returns [text, title], or make(row), which returns a node once, and change(node, row).
// kind is the class of its cells, n for figures. about are nodes between the heading and the table.
export function table({ caption, about = [], columns, key, empty }) {
	let sorted, down, rows = [], turn = 0;
	const lines = new Map();
	const view = new IntersectionObserver(all => {
		for (const { target, isIntersecting } of all) if (target.seen = isIntersecting) change(target);
	}, { rootMargin: '50%' });
	const body = el('tbody', { role: 'rowgroup' });
	const none = el('p', { class: 'soft' }, empty);
	const heads = columns.map(c => el('th', { role: 'columnheader', class: c.kind }, !c.value ? c.label :
		el('button', { onclick() { down = sorted === c ? !down : c.kind === 'n'; sorted = c; draw(); } }, c.label)));
	const scroll = scrolling(caption,
		el('table', { class: 'cards', role: 'table' }, el('thead', { role: 'rowgroup' }, el('tr', { role: 'row' }, ...heads)), body));
	const node = el('div', {}, el('h3', {}, caption), ...about, scroll, none);

	function line(row) {
		const tr = el('tr', { role: 'row' }, ...columns.map(c => el('td', { role: 'cell', 'data-label': c.label, class: c.kind }, c.make?.(row))));
		view.observe(tr);
		return Object.assign(tr, { seen: true, at: lines.size });
	}

	function change(tr) {
		columns.forEach((c, i) => c.make ? c.change?.(tr.cells[i].firstChild, tr.row) : text(tr.cells[i], ...c.show(tr.row)));
	}

	function draw() {
		heads.forEach((th, i) => { if (columns[i].value) th.ariaSort = columns[i] !== sorted ? 'none' : down ? 'descending' : 'ascending'; });
		const places = new Map([...body.rows].map((tr, i) => [tr, i])), place = row => places.get(lines.get(key(row))) ?? rows.length;
		const ordered = body.matches(':hover') ? [...rows].sort((a, b) => place(a) - place(b)) // a click hits the row aimed at
			: sorted ? [...rows].sort((a, b) => compare(sorted.value(a), sorted.value(b)) * (down ? -1 : 1)) : rows;
		const keys = new Set(rows.map(key)), parts = Math.ceil(rows.length / 100), focused = document.activeElement;
		for (const [k, tr] of lines) if (!keys.has(k)) { tr.remove(); lines.delete(k); }
		turn++;
		let next = body.firstChild;
		for (const row of ordered) {
			const k = key(row), tr = lines.get(k) ?? line(row);
			lines.set(k, tr);
			tr.row = row;
			if (tr.seen || (tr.at + turn) % parts === 0) change(tr);
			if (tr === next) next = tr.nextSibling;
			else body.insertBefore(tr, next);
		}
		if (body.contains(focused)) focused.focus({ preventScroll: true }); // a row that moves loses it
		none.hidden = rows.length;
		scroll.hidden = !rows.length;
	}
	return { node, update(all = rows) { rows = all; draw(); } };
}

const names = new Intl.Collator(undefined, { numeric: true });
const compare = (a, b) => typeof a === 'string' ? names.compare(a, b) : (a ?? -1) - (b ?? -1);
