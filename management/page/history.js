// The last 10 minutes: the first message of a stream has them all, each later one what is new.

const samples = 600, points = 60;

export function keepHistory() {
	let traffic = null, recent = null;

	function addTraffic(h) {
		if (!traffic) {
			traffic = h;
			return;
		}
		h.time.forEach((t, i) => {
			const n = traffic.time.length;
			if (n && t <= traffic.time[n - 1]) return;
			for (const name of Object.keys(h.errors)) traffic.errors[name] ??= Array(n).fill(0);
			traffic.time.push(t);
			for (const name of ['requests', 'rejected', 'p50_ms', 'p90_ms', 'p99_ms']) traffic[name].push(h[name][i]);
			for (const name of Object.keys(traffic.statuses)) traffic.statuses[name].push(h.statuses[name]?.[i] ?? 0);
			for (const name of Object.keys(traffic.errors)) traffic.errors[name].push(h.errors[name]?.[i] ?? 0);
		});
		const old = traffic.time.length - samples;
		if (old <= 0) return;
		const all = [traffic.time, traffic.requests, traffic.rejected, traffic.p50_ms, traffic.p90_ms, traffic.p99_ms,
			...Object.values(traffic.statuses), ...Object.values(traffic.errors)];
		for (const list of all) list.splice(0, old);
		for (const [name, list] of Object.entries(traffic.errors)) if (!list.some(v => v)) delete traffic.errors[name];
	}

	// addRecent keeps the points of one pool or backend; fresh: this message has a new point.
	function addRecent(key, r, whole, fresh) {
		const had = recent.get(key);
		if (whole || !had) { recent.set(key, r); return; }
		if (!fresh) return;
		for (const name of ['requests', 'errors']) had[name] = [...had[name], ...r[name]].slice(-points);
	}

	return {
		// begin forgets all: the next message has the whole.
		begin() { [traffic, recent] = [null, null]; },
		add(status) {
			const h = status.history;
			if (!h) return;
			const whole = !traffic, newest = h.recent_time.at(-1) ?? 0;
			const fresh = !recent || newest > recent.newest;
			if (whole) { recent = new Map(); }
			recent.newest = newest;
			addTraffic(h);
			for (const p of status.pools) {
				for (const b of p.backends) if (b.recent) addRecent(p.pool + '\n' + b.backend, b.recent, whole, fresh);
			}
		},
		traffic: () => traffic,
		recent: (pool, backend) => recent?.get(pool + '\n' + backend),
	};
}
