// Who reads the page, and calls of the API in its name. The session's cookie is out of a script's
// reach; with it each call needs the page's token, which only this origin has.

export let session = {};

// stored reads or changes what this origin keeps. Where a browser keeps nothing, the log-in lasts as
// long as the page.
const stored = use => { try { return use(localStorage); } catch {} };
const key = 'lb-page-token';
const remembered = () => stored(s => s.getItem(key)) || '';
const remember = token => stored(s => s.setItem(key, token));

export const mayWrite = () => session.role === 'write';

// Failure is an answer that is no success, in words.
export class Failure extends Error {}

// send makes a call, and returns its response. It throws a Failure.
export async function send(method, path, body, options = {}) {
	const headers = { ...options.headers };
	const token = session.page_token || remembered();
	if (token) headers['Lb-Page-Token'] = token;
	if (body) headers['Content-Type'] = 'application/json';
	const signal = options.signal ?? AbortSignal.timeout(10000);
	const r = await fetch(path, { method, headers, signal, cache: 'no-store', redirect: 'error', body: JSON.stringify(body) })
		.catch(() => { throw new Failure('the load balancer does not answer'); });
	if (r.status === 401) forget(token); // load cannot tell a session that has lost its cookie
	if (!r.ok) throw new Failure(await words(r));
	return r;
}

// api makes a call of the API, and returns [what it answers, its ETag].
export async function api(method, path, body, options) {
	const r = await send(method, '/v1/api/' + path, body, options);
	return [await r.json(), r.headers.get('ETag')];
}

async function words(r) {
	try {
		const p = await r.json();
		return [p.detail || p.title, ...(p.faults || [])].join('; ');
	} catch {
		return `the load balancer answered with status ${r.status}`;
	}
}

// load asks who reads the page. It returns false if a log-in is needed.
export async function load() {
	session = await (await send('GET', '/page/session')).json();
	session.page_token ||= session.role && remembered();
	return !!session.role;
}

export async function logIn(token) {
	session = await (await send('POST', '/page/session', { token })).json();
	remember(session.page_token);
}

export async function logOut() {
	await send('DELETE', '/page/session');
	forget(remembered());
}

// forget ends what this page knows of a session, not what another page of this origin keeps.
function forget(token) {
	if (remembered() === token) remember('');
	session = {};
}
