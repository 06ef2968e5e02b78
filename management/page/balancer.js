// The process itself.

import { el, facts } from './dom.js';
import { atFullTime, atTime, bytes, exact, short, span } from './format.js';

export function showBalancer(section) {
	const main = el('dl'), lists = el('div');
	let shown;
	section.append(main, lists);

	return ({ balancer: b, time }) => {
		const r = b.last_reload, since = t => (Date.parse(time) - Date.parse(t)) / 1000;
		facts(main, [
			['Version', b.version],
			['Started', `${atFullTime(b.started)}, ${span(since(b.started))} ago`],
			['Config', b.config],
			['State', b.ready ? '✓ ready' : `✗ not ready: ${b.not_ready}`],
			['Last reload', !r ? 'none so far' : `${r.ok ? '✓ succeeded' : '✗ failed: the older config is in use'} at ${atTime(r.at)}, ` +
				`by ${r.cause}${r.more ? `; ${exact(r.more)} lines are not shown` : ''}`, r ? atFullTime(r.at) : ''],
			['Client store', !b.store ? 'none' : `${b.store.up ? '✓ answers' : '✗ away'}, clients: ${exact(b.store.clients)}`],
			['Limits shared by Redis', !b.share ? 'no' : `${b.share.up ? '✓ answers' : '✗ away'}, instances: ${b.share.instances}`],
			['Log lines dropped', b.log_dropped],
			['Descriptors', `${short(b.descriptors?.open)} of ${short(b.descriptors?.limit)}`],
			['Memory', `${bytes(b.memory.resident)}, of it heap ${bytes(b.memory.heap)}` + (b.memory.limit ? ` of at most ${bytes(b.memory.limit)}` : '')],
		]);
		const expiries = b.certificates.map(c => `${c.name} until ${atFullTime(c.expires)}, ${since(c.expires) < 0 ? span(-since(c.expires)) : '✗ expired'}`);
		const all = [['Certificates', expiries], ['Warnings', b.warnings, 'out'],
			['Faults of the last reload', r?.faults, 'out'], ['Changed by the last reload', r?.changed]];
		const before = shown;
		shown = JSON.stringify(all);
		if (shown === before) return;
		lists.replaceChildren(...all.filter(l => l[1]?.length).map(([title, texts, cls]) =>
			el('div', { class: cls }, el('h3', {}, title), el('ul', {}, ...texts.map(t => el('li', {}, t))))));
	};
}
