// The stream of the status, by fetch, since an EventSource can send no page token.

import { Failure, send } from './session.js';

// follow reads one stream to its end, which a reload brings, and calls take(status, first). It throws
// when the stream breaks, has none, or falls silent.
export async function follow(take, ended) {
	const abort = new AbortController();
	ended.onabort = () => abort.abort();
	let came, timer;
	const heard = () => { clearTimeout(timer); timer = setTimeout(() => abort.abort(new Failure('nothing came for 5 s')), 5000); };
	heard();
	try {
		const r = await send('GET', '/v1/api/status/stream', undefined, { signal: abort.signal });
		const reader = r.body.pipeThrough(new TextDecoderStream()).getReader();
		let rest = '';
		for (;;) {
			const { done, value } = await reader.read();
			if (done && came) return;
			if (done) throw new Failure('the load balancer has ended the stream');
			heard();
			const messages = (rest + value).split('\n\n');
			rest = messages.pop();
			for (const m of messages.filter(m => m.startsWith('data: '))) { take(JSON.parse(m.slice(6)), !came); came = true; }
		}
	} catch (e) {
		throw abort.signal.reason ?? (e instanceof Failure ? e : new Failure('the connection to the load balancer is lost'));
	} finally {
		clearTimeout(timer);
		abort.abort();
	}
}
