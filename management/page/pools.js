// Pools and their backends.

import { el, text } from './dom.js';
import { figure, table } from './table.js';
import { drawSparkline, sparkline } from './chart.js';
import { ask, attempt } from './ask.js';
import { api, mayWrite } from './session.js';
import { atFullTime, atTime, exact, ms, percent, short, span } from './format.js';

const isOut = b => b.state !== 'up' && !b.takes_requests;

export function showPools(section) {
	const pools = new Map();

	return (status, history) => {
		let out = 0;
		for (const p of status.pools) {
			let shown = pools.get(p.pool);
			if (!shown) {
				pools.set(p.pool, shown = newPool(p.pool));
				section.append(shown.node);
			}
			shown.update(p, Date.parse(status.time), history);
			out += p.backends.filter(isOut).length;
		}
		for (const [name, { node }] of pools) if (!status.pools.some(p => p.pool === name)) { node.remove(); pools.delete(name); }
		return out && `${short(out)} out`;
	};
}

function newPool(name) {
	let now, history;
	const state = el('p');
	const stay = el('select', {}, ...['until it is resumed', '30s', '5m', '1h'].map((t, i) => el('option', { value: i ? t : '' }, t)));
	const kept = el('label', {}, 'Clients that stick to a drained backend stay there ', stay);
	const backends = table({
		caption: `Pool ${name}`, about: [state, kept], key: b => b.backend + '\n' + (b.state === 'unresolved'), empty: 'This pool has no backends.',
		columns: [
			{ label: 'Backend', kind: 'name', value: b => b.backend,
				show: b => [b.backend + (b.resolved_from ? ` (${b.resolved_from})` : '') + (b.backup ? ', backup' : '')] },
			{ label: 'State', kind: 'why', value: b => b.state, make: () => el('div', {}, el('b'), el('small')), change: (node, b) => showState(node, b, now) },
			{ label: 'Share, 1 min / due', kind: 'n', value: b => b.share, show: b => [`${percent(b.share)} / ${percent(b.due_share)}`] },
			figure('In flight', b => b.in_flight), figure('Requests', b => b.requests), figure('Errors', b => b.errors),
			{ label: 'Header p50 / p99', kind: 'n', value: b => b.time_to_header_ms?.p99,
				show: b => [b.time_to_header_ms ? `${short(b.time_to_header_ms.p50)} / ${ms(b.time_to_header_ms.p99)}` : '–', 'since the start'] },
			{ label: 'Requests, 10 min', make: sparkline, change: (node, b) => drawSparkline(node, history.recent(b.pool, b.backend), b.backend) },
			{ label: 'Weight', kind: 'n', value: b => b.weight, change: showWeight,
				make: b => el('div', {}, el('button', { onclick: event => weigh(b, event.target.textContent) }), el('small')) },
			{ label: 'Drain', make: b => el('button', { onclick: event => event.target.textContent === 'Resume' ? resume(b) : drain(b, stay.value) }), change: showDrain },
		],
	});
	return {
		node: backends.node,
		update(p, ...latest) {
			[now, history] = latest;
			kept.hidden = !mayWrite() || !p.sticky;
			const out = p.backends.filter(isOut);
			text(state, summary(p, out.map(b => `${b.backend} (${b.state.replaceAll(',', ', ')})`)));
			state.className = !p.takes_requests ? 'out' : out.length ? 'warn' : 'up';
			backends.update(p.backends);
		},
	};
}

function summary(p, out) {
	const n = p.backends.length;
	return [`${!p.takes_requests ? '✗' : out.length ? '⚠' : '✓'} ${n - out.length} of ${n} backends in`,
		out.length && `out: ${out.slice(0, 3).join(', ')}${out.length > 3 ? ` and ${out.length - 3} more` : ''}`,
		!p.takes_requests && 'requests wait or get 503', p.waiting && `${exact(p.waiting)} requests wait`,
		p.panic && 'panic: some that are out take requests'].filter(x => x).join('; ');
}

function showState(node, b, now) {
	const drained = b.state.includes('draining'), up = b.state === 'up';
	const [word, more] = node.children, ago = t => span((now - Date.parse(t)) / 1000);
	text(word, `${up ? '✓' : drained ? '◌' : '✗'} ${b.state.replaceAll(',', ', ')}`);
	word.className = up ? 'up' : drained ? 'warn' : 'out';
	text(more, [b.why?.replaceAll('; ', '\n'), b.since && `since ${atTime(b.since)}, ${ago(b.since)}`,
		b.ejected_until && `back in ${span((Date.parse(b.ejected_until) - now) / 1000)}`,
		drained && `${exact(b.in_flight)} still under way`, b.sticky_until && `kept clients move at ${atTime(b.sticky_until)}`,
		!up && b.takes_requests && 'takes requests all the same',
		b.last_error && !b.why?.includes(b.last_error) && `last error ${ago(b.last_error_at)} ago: ${b.last_error}`].filter(x => x).join('\n'),
	b.since && `since ${atFullTime(b.since)}`);
}

function showWeight(node, b) {
	const [change, more] = node.children;
	text(change, b.weight);
	change.ariaLabel = `Weight of ${b.address}: ${b.weight}`;
	change.disabled = !mayWrite() || b.state === 'unresolved';
	text(more, [b.weight !== b.configured_weight && `config: ${b.configured_weight}`,
		b.takes_requests && b.effective_weight < b.weight && `slow start ${short(b.effective_weight)}`].filter(x => x).join('\n'));
}

function showDrain(change, b) {
	text(change, b.state.includes('draining') ? 'Resume' : 'Drain');
	change.ariaLabel = `${change.textContent} ${b.address}`;
	change.hidden = !mayWrite() || b.state === 'unresolved';
}

// act makes a call for a backend, after a question if that takes out the last of its pool.
const act = (what, b, takesOut, method, call, body, said) => attempt(`${what} ${b.address}`, async () => {
	const path = `backends/${[b.pool, b.address].map(encodeURIComponent).join('/')}`;
	if (takesOut && (await api('GET', path))[0].alone &&
		!await ask(`Without ${b.address}, requests of the pool ${b.pool} get 503.`, 'Take out the last backend')) return '';
	const [now] = await api(method, `${path}/${call}`, body);
	return [`${b.address} in ${b.pool} ${said(now)}`, ...(now.warnings || [])].join('; ');
});
const drain = (b, timeout) => act('Draining', b, true, 'POST', 'drain', timeout ? { timeout } : {}, now => `is drained, ${now.in_flight} still under way`);
const resume = b => act('Resuming', b, false, 'POST', 'resume', undefined, now => `is resumed: it is ${now.state}`);

async function weigh(b, before) {
	const typed = await ask(`New weight of ${b.address}`, 'Set the weight',
		el('input', { type: 'number', min: 0, step: 1, required: true, autofocus: true, 'aria-label': 'Weight', value: before }));
	if (typed) act('The weight of', b, !+typed, 'PUT', 'weight', { weight: Number(typed) }, now => `has the weight ${now.weight}; before, ${before}`);
}
