// Traffic, with one time axis.

import { chart } from './chart.js';
import { el, facts } from './dom.js';
import { exact, ms, short } from './format.js';

const colours = { '1xx': 'soft', '2xx': 'good', '3xx': 'other', '4xx': 'warn', '5xx': 'bad' };

export function showTraffic(section) {
	const now = el('dl', { class: 'now' });
	const one = (name, unit) => chart({ name, unit, sync: 'traffic', lasting: 600 });
	const requests = one('Requests', 'a second, by status'), failed = one('Rejected and errors', 'a second, by reason');
	const took = one('Latency', 'ms');
	section.append(now, el('div', { class: 'charts' }, requests.node, failed.node, took.node));

	return (status, history) => {
		const t = status.traffic, h = history.traffic();
		// A sample's counts are of the time since the one before.
		const rate = list => list.map((n, i) => n == null ? n : n / Math.max(i ? h.time[i] - h.time[i - 1] : 1, 0.5));
		const lines = of => Object.keys(of).sort().filter(name => !/limited|in_flight/.test(name) && (name === '2xx' || of[name].some(n => n)))
			.map(name => ({ name, values: rate(of[name]), colour: colours[name] }));
		const all = rate(h.requests), rejected = rate(h.rejected), reasons = lines(h.errors);
		const errors = reasons.reduce((sum, r) => sum + r.values.at(-1), 0);
		facts(now, [['Requests a second', short(Math.round(all.at(-1) ?? 0)), `${exact(t.requests)} since the start`],
			['Rejected a second', short(Math.round(rejected.at(-1) ?? 0)), `${exact(t.rejected)} since the start`],
			['Errors a second', Math.round(errors)], ['Latency p99', ms(h.p99_ms.at(-1))],
			['In flight', t.in_flight], ['Client connections', t.connections], t.tunnels && ['Tunnels', t.tunnels]]);
		requests.update(h.time, [{ name: 'all', values: all }, ...lines(h.statuses)]);
		failed.update(h.time, [{ name: 'rejected', values: rejected }, ...reasons]);
		took.update(h.time, ['p50', 'p90', 'p99'].map(name => ({ name, values: h[name + '_ms'] })));
	};
}
