// The stream of the status, by fetch, since an EventSource can send no page token.

import { Failure, send } from './session.js';

const silence = 5000; // milliseconds without a message, of which one comes each second

// follow reads one stream to its end, and calls take with each status. It throws when the stream
// breaks, ends, or falls silent.
export async function follow(take, ended) {
	const abort = new AbortController();
	ended.addEventListener('abort', () => abort.abort());
	let late = false, timer;
	const heard = () => { clearTimeout(timer); timer = setTimeout(() => { late = true; abort.abort(); }, silence); };
	heard();
	try {
		const r = await send('GET', '/v1/api/status/stream', undefined, { signal: abort.signal });
		const reader = r.body.pipeThrough(new TextDecoderStream()).getReader();
		let rest = '';
		for (;;) {
			const { done, value } = await reader.read();
			if (done) throw new Failure('the load balancer has ended the stream');
			heard();
			const messages = (rest + value).split('\n\n');
			rest = messages.pop();
			for (const m of messages) if (m.startsWith('data: ')) take(JSON.parse(m.slice(6)));
		}
	} catch (e) {
		if (late) throw new Failure(`nothing came for ${silence / 1000} s`);
		throw e instanceof Failure ? e : new Failure('the connection to the load balancer is lost');
	} finally {
		clearTimeout(timer);
		abort.abort();
	}
}
