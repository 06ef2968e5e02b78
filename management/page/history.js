// The last 10 minutes: the first message of a stream has them all, each later one what is new.

const samples = 600, points = 60;

export function keepHistory() {
	let traffic = null, recent = null, newest = 0;

	return {
		// begin forgets all: the next message has the whole.
		begin() { traffic = null; },
		add(status) {
			const { recent_time, ...h } = status.history, whole = !traffic;
			if (whole) [traffic, recent, newest] = [h, new Map(), 0];
			else if (h.time[0] > (traffic.time.at(-1) ?? 0)) join(traffic, h, traffic.time.length);
			const isNew = recent_time.at(-1) > newest;
			if (isNew) newest = recent_time.at(-1);
			for (const p of status.pools) {
				for (const b of p.backends) {
					const key = p.pool + '\n' + b.backend, had = recent.get(key), r = b.recent;
					if (r && (whole || !had)) recent.set(key, r);
					else if (r && isNew) recent.set(key, { requests: [...had.requests, ...r.requests].slice(-points), errors: [...had.errors, ...r.errors].slice(-points) });
				}
			}
		},
		traffic: () => traffic,
		recent: (pool, backend) => recent.get(pool + '\n' + backend),
	};
}

// join appends one sample to the lists of all, which have n; a list that is missing has zeros.
function join(all, more, n) {
	for (const name in { ...all, ...more }) {
		const now = more[name] ?? [0];
		if (Array.isArray(now)) all[name] = [...(all[name] ?? Array(n).fill(0)), ...now].slice(-samples);
		else join(all[name], now, n);
	}
}
