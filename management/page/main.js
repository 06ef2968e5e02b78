// The page: its reader, the stream that fills it, and what is said when that breaks.

import { byId, el, text } from './dom.js';
import { atTime, showWhole } from './format.js';
import { attempt } from './ask.js';
import { keepHistory } from './history.js';
import { load, logIn, logOut, mayWrite, session } from './session.js';
import { follow } from './stream.js';
import { showTraffic } from './traffic.js';
import { showPools } from './pools.js';
import { showClients } from './clients.js';
import { showBalancer } from './balancer.js';

const main = byId('main'), login = byId('login'), reader = byId('reader');
let last; // status
let history, over; // of the stream: what it brought, and what ends it

const parts = [showTraffic(byId('traffic')), showPools(byId('pools')), showClients(byId('clients')), showBalancer(byId('balancer'))];
text(document.querySelector('h1 small'), location.host);
document.title = `${location.host}: load balancer`;
const links = [...document.querySelectorAll('nav a')].map(node => ({ node, name: node.textContent }));

function show(status, first) {
	if (first) history = keepHistory();
	history.add(last = status);
	main.hidden = false;
	tell('Live', atTime(status.time));
	draw();
}

// draw shows the last status. A part returns what needs attention, in words, which its link says.
function draw() {
	const aimed = document.querySelector('button:hover'), y = () => aimed?.getBoundingClientRect().top, before = y();
	parts.forEach((part, i) => {
		const note = part(last, history);
		text(links[i].node, links[i].name + (note ? ` (${note})` : ''));
		links[i].node.className = note ? 'warn' : '';
	});
	if (aimed?.checkVisibility()) scrollBy(0, y() - before); // it stays beneath the pointer
}

// tell says how fresh the page is. The time is no news to a screen reader.
function tell(news, at = '', stale = false) {
	document.body.classList.toggle('stale', stale);
	text(byId('news'), news);
	text(byId('at'), at);
}

function showReader() {
	const account = session.login ? `${session.name}, role ${session.role} ` : '';
	reader.replaceChildren(account, mayWrite() ? '' : 'You can look, and change nothing. ');
	if (account) reader.append(el('button', { onclick: () => attempt('The log-out', logOut).then(() => over.abort()) }, 'Log out'));
}

// askToken shows the form until a log-in succeeds.
function askToken() {
	main.hidden = true;
	document.querySelector('dialog')?.close();
	reader.replaceChildren();
	last = null;
	login.hidden = false;
	tell('Not logged in.');
	const refused = byId('refused'), token = byId('token');
	token.focus();
	return new Promise(done => {
		login.onsubmit = async event => {
			event.preventDefault();
			text(refused, '');
			try {
				await logIn(token.value.trim());
				login.hidden = true;
				done();
			} catch (e) {
				text(refused, `The log-in failed: ${e.message}`);
			}
			token.value = '';
		};
	});
}

byId('whole').onchange = event => { showWhole(event.target.checked); if (last) draw(); };
addEventListener('storage', () => location.reload()); // another tab has logged in or out

for (;;) {
	try {
		over = new AbortController();
		if (!await load()) await askToken();
		showReader();
		await follow(show, over.signal);
	} catch (e) {
		if (!over.signal.aborted) tell(`${last ? `Stale since ${atTime(last.time)}` : 'Nothing to show yet'}: ${e.message}. Trying again.`, '', true);
	}
	if (!over.signal.aborted) await new Promise(done => setTimeout(done, 1000));
}
