// The traffic: charts with one time axis.

import { chart } from './chart.js';
import { el, facts } from './dom.js';
import { exact, short } from './format.js';

export function showTraffic(section) {
	const sums = el('dl');
	const requests = chart({ name: 'Requests', unit: 'a second, by status', sync: 'traffic', lasting: 600 });
	const failed = chart({ name: 'Rejected and errors', unit: 'a second, by reason', sync: 'traffic', lasting: 600 });
	const took = chart({ name: 'Latency', unit: 'ms', sync: 'traffic', lasting: 600 });
	section.append(sums, el('div', { class: 'charts' }, requests.node, failed.node, took.node));

	return (status, history) => {
		const t = status.traffic, h = history.traffic();
		const fact = (name, n) => [name, short(n), exact(n)];
		facts(sums, [fact('Requests since the start', t.requests), fact('Under way', t.in_flight), fact('Rejected', t.rejected),
			fact('Client connections', t.connections), fact('Tunnels', t.tunnels)]);
		if (!h) return;
		// A sample's counts are of the time since the one before: of about a second.
		const rate = list => list.map((n, i) => n / Math.max(i ? h.time[i] - h.time[i - 1] : 1, 0.5));
		const classes = Object.keys(h.statuses).filter(c => c === '2xx' || h.statuses[c].some(n => n));
		requests.update(h.time, [{ name: 'all', values: rate(h.requests) }, ...classes.map(c => ({ name: c, values: rate(h.statuses[c]) }))]);
		failed.update(h.time, [{ name: 'rejected', values: rate(h.rejected) },
			...Object.keys(h.errors).sort().filter(e => e !== 'limited').map(e => ({ name: e, values: rate(h.errors[e]) }))]);
		took.update(h.time, [['p50', h.p50_ms], ['p90', h.p90_ms], ['p99', h.p99_ms]].map(([name, values]) => ({ name, values })));
	};
}
