// The last 10 minutes: the first message of a stream has them all, each later one what is new.

const samples = 600, points = 60;

export function keepHistory() {
	const recent = new Map();
	let traffic, newest = 0;

	return {
		add(status) {
			const { recent_time, ...h } = status.history;
			if (!traffic) traffic = h;
			else if (h.time[0] > (traffic.time.at(-1) ?? 0)) {
				// Messages that a slow reader missed leave a gap.
				if (h.time[0] > traffic.time.at(-1) + 2) join(traffic, { time: [h.time[0] - 1] }, traffic.time.length, null);
				join(traffic, h, traffic.time.length, 0);
			}
			const isNew = recent_time.at(-1) > newest;
			if (isNew) newest = recent_time.at(-1);
			for (const { pool, backend, recent: r } of status.pools.flatMap(p => p.backends)) {
				const key = pool + '\n' + backend, had = recent.get(key), more = name => [...had[name], ...r[name]].slice(-points);
				if (r && !had) recent.set(key, r);
				else if (r && isNew) recent.set(key, { requests: more('requests'), errors: more('errors') });
			}
		},
		traffic: () => traffic,
		recent: (pool, backend) => recent.get(pool + '\n' + backend),
	};
}

// join appends one sample to the lists of all, which have n; a list that is missing in it has none.
function join(all, more, n, none) {
	for (const name in { ...all, ...more }) {
		const had = all[name], now = more[name];
		if (Array.isArray(had ?? now)) all[name] = [...(had ?? Array(n).fill(0)), ...(now ?? [none])].slice(-samples);
		else join(had, now ?? {}, n, none);
	}
}
