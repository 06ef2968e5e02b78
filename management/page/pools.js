// Pools and their backends.

import { el, facts, text } from './dom.js';
import { table } from './table.js';
import { drawSparkline, sparkline } from './chart.js';
import { ask, attempt } from './ask.js';
import { api, mayWrite } from './session.js';
import { atFullTime, atTime, exact, ms, percent, short, span } from './format.js';

export function showPools(section) {
	const pools = new Map();
	const stay = el('select', { id: 'stay' }, ...[['', 'until it is resumed'], ['30s', '30 s'], ['5m', '5 min'], ['1h', '1 h']].map(([v, t]) => el('option', { value: v }, t)));
	const row = el('p', { class: 'row' }, el('label', {}, 'Clients that sticky sessions keep at a drained backend stay ', stay));
	section.append(row);

	return (status, history) => {
		row.hidden = !mayWrite();
		const gone = new Set(pools.keys());
		for (const p of status.pools) {
			gone.delete(p.pool);
			if (!pools.has(p.pool)) {
				const made = newPool(p.pool, stay, history);
				section.append(made.node);
				pools.set(p.pool, made);
			}
			pools.get(p.pool).update(p, Date.parse(status.time));
		}
		for (const name of gone) { pools.get(name).node.remove(); pools.delete(name); }
	};
}

function newPool(name, stay, history) {
	let now = 0;
	const state = el('dl');
	const recent = b => history.recent(b.pool, b.backend);
	const backends = table({
		caption: `Backends of the pool ${name}`, key: b => b.backend + '\n' + (b.state === 'unresolved'), empty: 'This pool has no backends.',
		columns: [
			{ label: 'Backend', value: b => b.backend, show: b => [b.backend + (b.resolved_from ? ` (${b.resolved_from})` : '') + (b.backup ? ', backup' : '')] },
			{ label: 'State', value: b => b.state, make: () => el('div', {}, el('span', { class: 'state' }), el('small')), change: (node, b) => showState(node, b, now) },
			{ label: 'Share / due', number: true, value: b => b.share, show: b => [`${percent(b.share)} / ${percent(b.due_share)}`, 'share of the requests of the last minute, and what is due by weight'] },
			{ label: 'In flight', number: true, value: b => b.in_flight, show: b => [short(b.in_flight), exact(b.in_flight)] },
			{ label: 'Requests', number: true, value: b => b.requests, show: b => [short(b.requests), exact(b.requests)] },
			{ label: 'Errors', number: true, value: b => b.errors, show: b => [short(b.errors), exact(b.errors)] },
			{ label: 'Header p50 / p99', number: true, value: b => b.time_to_header_ms?.p99, show: b => [b.time_to_header_ms ? `${ms(b.time_to_header_ms.p50)} / ${ms(b.time_to_header_ms.p99)}` : '–', 'time from the request to the header of the response'] },
			{ label: 'Last 10 min', make: () => sparkline(), change: (node, b) => drawSparkline(node, recent(b), b.backend) },
			{ label: 'Last error', value: b => b.last_error_at || '', show: b => [b.last_error ? `${b.last_error}, ${span((now - Date.parse(b.last_error_at)) / 1000)} ago` : '', b.last_error ? atFullTime(b.last_error_at) : ''] },
			{ label: 'Weight', number: true, value: b => b.weight, show: b => [weight(b), b.weight !== b.configured_weight ? `set by hand; the config says ${b.configured_weight}` : ''] },
			{ label: 'By hand', make: b => actions(b, stay), change: (node, b) => node.update(b) },
		],
	});
	return {
		node: el('div', {}, el('h3', {}, `Pool ${name}`), state, backends.node),
		update(p, at) {
			now = at;
			const taking = p.backends.filter(b => b.takes_requests).length;
			facts(state, [['Takes requests', p.takes_requests ? `✓ yes: ${taking} of ${p.backends.length} backends` : '✗ no: requests get 503, or wait'],
				...(p.panic ? [['Panic', 'so few backends are in that some that are out take requests']] : []), ['Waiting for a backend', short(p.waiting), exact(p.waiting)]]);
			backends.update(p.backends);
		},
	};
}

function weight(b) {
	const by = b.weight !== b.configured_weight ? ' (by hand)' : '';
	const ramp = b.takes_requests && b.effective_weight > 0 && b.effective_weight < b.weight ? `, now ${short(b.effective_weight)}` : '';
	return b.weight + ramp + by;
}

function showState(node, b, now) {
	const drained = b.state.includes('draining'), up = b.state === 'up';
	const word = node.firstChild;
	text(word, `${up ? '✓' : drained ? '◌' : '✗'} ${b.state.replaceAll(',', ', ')}`);
	word.className = 'state ' + (up ? 'up' : drained ? 'drained' : 'out');
	const parts = [b.why];
	if (b.since) parts.push(`since ${atTime(b.since)}, ${span((now - Date.parse(b.since)) / 1000)}`);
	if (b.ejected_until) parts.push(`back in ${span((Date.parse(b.ejected_until) - now) / 1000)}`);
	if (drained) {
		parts.push(`${exact(b.in_flight)} still under way`);
		if (b.sticky_until) parts.push(`kept clients move at ${atTime(b.sticky_until)}`);
	}
	if (!up && b.takes_requests) parts.push('takes requests all the same');
	text(node.lastChild, parts.filter(p => p).join(' · '), b.since ? `since ${atFullTime(b.since)}` : '');
}

// actions are drain, resume and weight of one backend.
function actions(backend, stay) {
	const path = `backends/${encodeURIComponent(backend.pool)}/${encodeURIComponent(backend.address)}`;
	let b = backend;
	const warned = answer => (answer.warnings || []).map(w => `; ${w}`).join('');

	// isLast reports whether no other backend of the pool takes requests, as of now.
	async function isLast() {
		const [all] = await api('GET', 'backends');
		return !all.some(o => o.pool === b.pool && o.backend !== b.backend && o.takes_requests);
	}
	const last = `${b.address} is the last backend of the pool ${b.pool} that takes requests. Without it, requests get 503.`;
	const drain = () => attempt(`Draining ${b.address}`, async () => {
		if (b.takes_requests && await isLast() && !await ask(`${last} Drain it?`, 'Drain the last backend')) return '';
		const [now] = await api('POST', `${path}/drain`, stay.value ? { timeout: stay.value } : {});
		return `${b.address} is drained, ${now.in_flight} still under way${warned(now)}`;
	});
	const resume = () => attempt(`Resuming ${b.address}`, async () => {
		const [now] = await api('POST', `${path}/resume`);
		return `${b.address} is resumed: it is ${now.state}${warned(now)}`;
	});
	const weigh = event => attempt(`The weight of ${b.address}`, async () => {
		event.preventDefault();
		const weight = Number(input.value);
		if (weight === 0 && await isLast() && !await ask(`${last} Set its weight to 0?`, 'Set the weight to 0')) return '';
		const [now] = await api('PUT', `${path}/weight`, { weight });
		input.value = '';
		return `${b.address} has the weight ${now.weight}${warned(now)}`;
	});
	const change = el('button', { type: 'button' });
	change.addEventListener('click', () => b.state.includes('draining') ? resume() : drain());
	const input = el('input', { type: 'number', min: 0, step: 1, required: true, 'aria-label': `New weight of ${b.address}` });
	const form = el('form', { class: 'acts', onsubmit: weigh }, input, el('button', { 'aria-label': `Set the weight of ${b.address}` }, 'Set'));
	const node = el('div', { class: 'acts' }, change, el('details', {}, el('summary', {}, 'Weight'), form));
	node.update = now => {
		b = now;
		text(change, b.state.includes('draining') ? 'Resume' : 'Drain');
		change.setAttribute('aria-label', `${change.textContent} ${b.address}`);
		input.placeholder = b.weight;
		node.hidden = !mayWrite() || b.state === 'unresolved';
	};
	return node;
}
