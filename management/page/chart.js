// A chart of lines over time, each with its colour and dashes, with its figures as a table behind.

import { el, scrolling, svg, text } from './dom.js';
import { atTime, exact, few, short } from './format.js';

const dashes = [[], [6, 3], [2, 2], [8, 2, 2, 2], [1, 3], [12, 3]];
const variable = name => getComputedStyle(document.documentElement).getPropertyValue('--' + name);
const colours = ['link', 'good', 'warn', 'bad', 'other', 'soft'];
const colour = (line, i) => line.colour || colours[i % 6];

// alone finds values without neighbours, which no line shows.
const alone = all => [...all.keys()].filter(i => all[i] != null && all[i - 1] == null && all[i + 1] == null);

// chart returns {node, update(times, lines)}: times in Unix seconds, lines as [{name, values, colour}].
// A colour is one of style.css. lasting is in seconds.
export function chart({ name, unit, sync, lasting }) {
	const keys = el('ul', { class: 'key' });
	const plot = el('div', { class: 'plot', role: 'img' });
	const figures = el('table'), title = `Figures of ${name}`;
	const details = el('details', { ontoggle: tabulate }, el('summary', {}, title), scrolling(title, figures));
	const node = el('figure', {}, el('figcaption', {}, `${name}, ${unit}`), keys, plot, details);
	const size = () => ({ width: Math.max(plot.clientWidth, 100), height: 170 });
	let drawn, names, times = [], lines = [];

	function make() {
		keys.replaceChildren(...lines.map((l, i) => {
			const mark = svg('path', { d: 'M0 5h24', stroke: `var(--${colour(l, i)})`, 'stroke-width': 2, 'stroke-dasharray': dashes[i % 6].join(' ') });
			return el('li', {}, svg('svg', { viewBox: '0 0 24 10', 'aria-hidden': 'true' }, mark), `${l.name} `, el('b'));
		}));
		drawn?.destroy();
		const axis = { stroke: () => variable('soft'), grid: { stroke: () => variable('line'), width: 1 }, ticks: { show: false } };
		drawn = new uPlot({
			...size(), legend: { show: false }, padding: [8, 36, 0, 0],
			cursor: { sync: { key: sync }, y: false, points: { show: false }, drag: { x: false } },
			scales: {
				x: { range: (_, low, high) => [Math.max(high - lasting, Math.min(times[0], high - 60)), high] },
				y: { range: (_, low, high) => [0, (high || 1) * 1.05] },
			},
			axes: [
				{ ...axis, size: 30, space: 80, incrs: [5, 10, 15, 30, 60, 120, 180, 300], values: (_, all) => all.map(t => atTime(t * 1000)) },
				{ ...axis, size: 52, values: (_, all) => all.map(few.format) },
			],
			series: [{}, ...lines.map((l, i) => ({
				stroke: () => variable(colour(l, i)), fill: i ? null : () => variable(colour(l, i)) + '18',
				dash: dashes[i % 6], width: 1.5, points: { size: 3, filter: (u, at) => alone(u.data[at]) },
			}))],
			hooks: { setCursor: [tell] },
		}, data(), plot);
	}

	const data = () => [times, ...lines.map(l => l.values)];

	// tell shows the figures under the cursor, or the latest.
	function tell() {
		const at = drawn?.cursor.idx ?? times.length - 1;
		lines.forEach((l, i) => text(keys.children[i].lastChild, short(l.values[at]), exact(l.values[at])));
	}

	function tabulate() {
		if (!details.open) return;
		const head = el('tr', {}, el('th', { scope: 'col' }, 'Time'), ...lines.map(l => el('th', { scope: 'col', class: 'n' }, l.name)));
		const step = Math.ceil(times.length / 20), all = [];
		for (let i = times.length - 1; i >= 0; i -= step) {
			all.push(el('tr', {}, el('td', {}, atTime(times[i] * 1000)), ...lines.map(l => el('td', { class: 'n' }, short(l.values[i])))));
		}
		figures.replaceChildren(el('thead', {}, head), el('tbody', {}, ...all));
	}

	new ResizeObserver(() => drawn?.setSize(size())).observe(plot);

	return {
		node,
		update(newTimes, newLines) {
			[times, lines] = [newTimes, newLines];
			const now = lines.map(l => l.name).join('\n');
			if (now !== names) { names = now; make(); } else drawn.setData(data());
			tell();
			tabulate();
			plot.ariaLabel = `${name}, ${unit}, now: ` + lines.map(l => `${l.name} ${short(l.values.at(-1))}`).join(', ');
		},
	};
}

// sparkline returns a picture of requests, and of errors among them, in the last minutes.
export function sparkline() {
	const line = cls => svg('polyline', { class: cls, fill: 'none', stroke: 'currentColor', 'stroke-width': 1.2 });
	return svg('svg', { class: 'spark', viewBox: '0 0 100 20', preserveAspectRatio: 'none', role: 'img' }, line(), line('e'));
}

export function drawSparkline(node, recent, what) {
	const { requests = [], errors = [] } = recent || {};
	const high = Math.max(1, ...requests), first = 60 - requests.length;
	const points = all => all.map((v, i) => `${((first + i) / 0.59).toFixed(1)},${(19 - 18 * v / high).toFixed(1)}`).join(' ');
	node.children[0].setAttribute('points', points(requests));
	node.children[1].setAttribute('points', errors.some(v => v) ? points(errors) : '');
	const sum = all => all.reduce((a, b) => a + b, 0);
	node.ariaLabel = `${what}, last 10 minutes: ${short(sum(requests))} requests, ${short(sum(errors))} errors`;
}
