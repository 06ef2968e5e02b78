// The page: who reads it, the stream that fills it, and what is said when that breaks.

import { byId, el, text } from './dom.js';
import { atTime, span } from './format.js';
import { keepHistory } from './history.js';
import { current, load, logIn, logOut, mayWrite } from './session.js';
import { follow } from './stream.js';
import { showTraffic } from './traffic.js';
import { showPools } from './pools.js';
import { showClients } from './clients.js';
import { showBalancer } from './balancer.js';

const history = keepHistory();
const main = byId('main'), news = byId('news'), login = byId('login'), who = byId('who');
let heard = null; // when the last status came
let over = new AbortController(); // ends the stream

const parts = [showTraffic(byId('traffic')), showPools(byId('pools')), showClients(byId('clients')), showBalancer(byId('balancer'))];

function show(status) {
	heard = Date.now();
	history.add(status);
	document.body.classList.remove('stale');
	main.hidden = false;
	text(news, `Fresh: ${atTime(status.time)}`);
	for (const part of parts) part(status, history);
}

function stale(why) {
	document.body.classList.add('stale');
	text(news, heard ? `Stale since ${atTime(heard)} (${span((Date.now() - heard) / 1000)}): ${why}. Trying again.` : `Nothing to show yet: ${why}. Trying again.`);
}

function showWho() {
	const s = current();
	who.replaceChildren(s.login ? `${s.name}, role ${s.role} ` : '', !mayWrite() ? 'You can look, and change nothing. ' : '');
	if (s.login) who.append(el('button', { type: 'button', onclick: async () => { try { await logOut(); } finally { over.abort(); } } }, 'Log out'));
}

// askToken shows the form until a log-in succeeds.
function askToken() {
	document.body.classList.remove('stale');
	main.hidden = true;
	who.replaceChildren();
	heard = null;
	login.hidden = false;
	text(news, 'Not logged in.');
	byId('token').focus();
	return new Promise(done => {
		login.onsubmit = async event => {
			event.preventDefault();
			text(byId('refused'), '');
			try {
				await logIn(byId('token').value.trim());
			} catch (e) {
				text(byId('refused'), `The log-in failed: ${e.message}`);
				return;
			} finally {
				byId('token').value = '';
			}
			login.hidden = true;
			done();
		};
	});
}

for (;;) {
	try {
		over = new AbortController();
		if (!await load()) await askToken();
		showWho();
		history.begin();
		await follow(show, over.signal);
	} catch (e) {
		if (!over.signal.aborted) stale(e.message);
	}
	if (!over.signal.aborted) await new Promise(done => setTimeout(done, 1000));
}
