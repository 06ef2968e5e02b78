// The clients limited most, and a search for any.

import { el, text } from './dom.js';
import { figure, table } from './table.js';
import { details, showClient } from './client.js';
import { send } from './session.js';

const nameOf = c => c.name || c.ip_address;
const limits = [figure('Capacity', c => c.capacity), figure('Rate a second', c => c.rate_per_second)];

export function showClients(section) {
	const one = el('div', { id: 'one', hidden: true });
	const opened = showClient(one);
	const open = (c, registered) => el('button', { onclick: () => { found.node.hidden = true; text(outcome, ''); opened.open(c, registered); } }, c);
	const limited = table({
		caption: 'Limited most in the last minute', key: c => c.client + c.registered, empty: 'No client was limited in the last minute.',
		columns: [
			{ label: 'Client', value: c => c.client, make: c => open(c.client, c.registered) },
			figure('Rejected', c => c.rejections), ...limits,
			{ label: 'Registered', value: c => +c.registered, show: c => [(c.registered ? 'yes' : 'no: default limit') + (c.shadow ? ', only counted' : '')] },
		],
	});
	const found = table({
		caption: 'Found', key: nameOf, empty: 'No client has this.',
		columns: [
			{ label: 'Client', value: nameOf, make: c => open(nameOf(c), true) },
			...limits, { label: 'Details', show: c => [details(c)] },
		],
	});
	found.node.hidden = true;
	const input = el('input', { type: 'search', id: 'find', maxlength: 128, required: true });
	const outcome = el('p', { role: 'status', class: 'soft' });

	async function find(event) {
		event.preventDefault();
		try {
			const r = await send('GET', `/v1/api/clients/?limit=50&search=${encodeURIComponent(input.value.trim())}`);
			const all = await r.json();
			found.update(all);
			found.node.hidden = false;
			text(outcome, r.headers.has('Link') ? `The first ${all.length} are shown; there are more` : `${all.length} found`);
		} catch (e) {
			text(outcome, `The search failed: ${e.message}`);
		}
	}
	section.append(limited.node, el('form', { class: 'row', role: 'search', onsubmit: find },
		el('label', {}, 'Name, address, key id or label ', input), el('button', {}, 'Search')), outcome, found.node, one);

	return status => {
		limited.update(status.limited);
		found.update();
		opened.update();
		return status.limited.length && `${status.limited.length} limited`;
	};
}
