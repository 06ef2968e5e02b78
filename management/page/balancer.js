// The process itself.

import { el, facts } from './dom.js';
import { table } from './table.js';
import { atFullTime, atTime, bytes, exact, short, span } from './format.js';

export function showBalancer(section) {
	const main = el('dl'), lists = el('div');
	const certificates = table({
		caption: 'Certificates', key: c => c.name,
		columns: [
			{ label: 'Name', value: c => c.name, show: c => [c.name] },
			{ label: 'Expires', value: c => Date.parse(c.expires), show: c => [atFullTime(c.expires)] },
			{ label: 'In', number: true, value: c => Date.parse(c.expires), show: c => [span((Date.parse(c.expires) - Date.now()) / 1000)] },
		],
	});
	section.append(main, lists, certificates.node);

	return ({ balancer: b, time }) => {
		const r = b.last_reload, now = Date.parse(time);
		facts(main, [
			['Version', b.version],
			['Started', `${atFullTime(b.started)}, ${span((now - Date.parse(b.started)) / 1000)} ago`],
			['Config', b.config],
			['State', b.ready ? '✓ ready' : `✗ not ready: ${b.not_ready}`],
			['Last reload', !r ? 'none so far' : `${r.ok ? '✓ succeeded' : '✗ failed: the older config is in use'} at ${atTime(r.at)}, by ${r.cause}`, r ? atFullTime(r.at) : ''],
			['Client store', !b.store ? 'none' : `${b.store.up ? '✓ answers' : '✗ away'}, ${exact(b.store.clients)} clients`],
			['Limits shared by Redis', !b.share ? 'no: they are of this instance alone' : `${b.share.up ? '✓ answers' : '✗ away'}, ${b.share.instances} instances`],
			['Log lines dropped', short(b.log_dropped), exact(b.log_dropped)],
			['Descriptors', b.descriptors ? `${short(b.descriptors.open)} of ${short(b.descriptors.limit)}` : 'not known'],
			['Memory', `${bytes(b.memory.resident)}, of it heap ${bytes(b.memory.heap)}` + (b.memory.limit ? ` of at most ${bytes(b.memory.limit)}` : '')],
		]);
		const texts = (title, all, cls) => all?.length ? [el('h3', {}, title), el('ul', { class: cls }, ...all.map(t => el('li', {}, t)))] : [];
		const shown = JSON.stringify([b.warnings, r?.changed, r?.faults]);
		if (lists.dataset.shown !== shown) {
			lists.dataset.shown = shown;
			lists.replaceChildren(...texts('Warnings', b.warnings, 'faults'), ...texts('Faults of the last reload', r?.faults, 'faults'),
				...texts('Changed by the last reload', r?.changed, null));
		}
		certificates.update(b.certificates);
		certificates.node.hidden = !b.certificates.length;
	};
}
