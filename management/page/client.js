// One client: its bucket drawn live, its limit, and a trial of another.

import { byId, el, facts, text } from './dom.js';
import { chart } from './chart.js';
import { ask, attempt } from './ask.js';
import { api, mayWrite } from './session.js';
import { atFullTime, exact, short, span } from './format.js';

const lasting = 300; // seconds that the bucket is drawn for

// limitForm is a form for a capacity and a rate.
function limitForm(id, label, submit, ...more) {
	const capacity = el('input', { type: 'number', min: 1, step: 1, required: true, id: `${id}-capacity` });
	const rate = el('input', { type: 'number', min: 0, step: 'any', required: true, id: `${id}-rate` });
	const form = el('form', { class: 'row', onsubmit: e => { e.preventDefault(); submit({ capacity: Number(capacity.value), rate_per_second: Number(rate.value) }); } },
		el('label', {}, 'Capacity ', capacity), el('label', {}, 'Rate a second ', rate), el('button', {}, label), ...more);
	return { form, set(limit) { capacity.value = limit?.capacity ?? ''; rate.value = limit?.rate_per_second ?? ''; } };
}

export function showClient(node) {
	let name = '', registered = false, client = null, tag = null, seen = [], asking = false;
	const path = () => `clients/${encodeURIComponent(name)}`;
	const heading = el('h3', { tabindex: -1 }), known = el('dl'), note = el('p', { role: 'status' });
	const bucket = chart({ name: 'Bucket', unit: 'tokens since it was opened', sync: 'bucket', lasting });
	const passed = chart({ name: 'Requests of the client', unit: 'a second since it was opened', sync: 'bucket', lasting });
	const limit = limitForm('limit', 'Set the limit', setLimit);
	const trial = limitForm('trial', 'Start a trial', t => patch('The trial', { trial: t }, `${t.capacity} and ${t.rate_per_second} a second are on trial for ${name}: nothing is rejected by them`));
	const take = el('button', { onclick: takeOver }, 'Take over as the limit');
	const stop = el('button', { onclick: () => patch('Ending the trial', { trial: null }, `The trial of ${name} is ended. It would have rejected ${exact(seen.at(-1).trial_limited)} requests`) }, 'End the trial');
	const watched = el('p'), running = el('div', { class: 'acts' }, take, stop);
	const tried = el('div', {}, el('h4', {}, 'Trial of another limit'), watched, running, trial.form);
	node.append(el('div', { class: 'row' }, heading, el('button', { onclick: close }, 'Close')), note, known, limit.form,
		el('div', { class: 'charts' }, bucket.node, passed.node), tried);

	function close() { name = ''; node.hidden = true; byId('find').focus(); }

	async function open(newName, isRegistered) {
		[name, registered, client, seen] = [newName, isRegistered, null, []];
		node.hidden = false;
		text(heading, `Client ${name}`);
		text(note, '');
		known.replaceChildren();
		await read(true);
		heading.focus();
		node.scrollIntoView({ block: 'start' });
	}

	// standing returns the limit of an address that is not registered, and the tokens that it has.
	const standing = async () => (await api('POST', 'explain', { url: 'http://localhost/', from: name.split('/')[0] }))[0].limit;

	// read gets the client, or the default limit that it has. What is typed into the forms stays.
	async function read(fills) {
		try {
			if (registered) [client, tag] = await api('GET', path());
			else {
				client = await standing();
				text(note, 'This address is not registered: the default limit counts. Set a limit of its own to register it.');
			}
			if (fills) { limit.set(client); trial.set(client.trial ?? client); }
		} catch (e) {
			text(note, e.message);
		}
		show();
	}

	function show() {
		limit.form.hidden = !mayWrite();
		passed.node.hidden = !registered;
		tried.hidden = !registered || !mayWrite();
		running.hidden = !client?.trial;
		text(trial.form.querySelector('button'), client?.trial ? 'Change the trial' : 'Start a trial');
	}

	async function patch(what, body, said) {
		const ok = await attempt(what, async () => {
			[client, tag] = await api('PATCH', path(), body, { headers: { 'Content-Type': 'application/merge-patch+json', 'If-Match': tag } });
			return said;
		});
		if (ok) show(); else await read(); // what another has changed
		return ok;
	}

	// isMeant asks about a rate below what is let through now.
	const isMeant = rate => rate >= useNow() ||
		ask(`${name} has ${short(useNow())} requests a second let through now, more than ${rate}. Set the lower limit?`, 'Set the lower limit');

	async function setLimit(l) {
		if (!await isMeant(l.rate_per_second)) return;
		const said = `${name} has a capacity of ${l.capacity} and ${l.rate_per_second} a second; before, ${client?.capacity} and ${client?.rate_per_second}`;
		if (registered) {
			if (await patch('The limit', l, said) && !client.trial) trial.set(client);
			return;
		}
		if (!await attempt('The limit', () => api('POST', 'clients/', { ip_address: name, ...l }).then(() => said))) return;
		registered = true;
		text(note, '');
		await read(true);
	}

	async function takeOver() {
		const { capacity, rate_per_second } = client.trial;
		if (await isMeant(rate_per_second) &&
			await patch('Taking over the trial', { capacity, rate_per_second, trial: null }, `${name} has the limit of its trial: ${capacity}, and ${rate_per_second} a second`)) limit.set(client);
	}

	// useNow returns how many requests a second were let through in the last 10 seconds.
	function useNow() {
		const last = seen.slice(-11);
		return last.length < 2 ? 0 : Math.max(0, last.at(-1).allowed - last[0].allowed) / (last.at(-1).at - last[0].at);
	}

	// update draws the bucket as it is now.
	async function update() {
		if (!name || asking) return;
		const of = name;
		asking = true;
		try {
			const u = registered ? (await api('GET', path() + '/usage'))[0] : await standing();
			if (of === name) draw({ ...u, at: Date.now() / 1000 });
		} catch (e) {
			if (of === name) text(note, e.message);
		} finally {
			asking = false;
		}
	}

	function draw(u) {
		const before = seen.at(-1);
		if (before && u.allowed < before.allowed) seen = []; // it was reset
		seen = [...seen, { ...u, capacity: client?.capacity }].slice(-lasting);
		const lately = seen.at(-61) ?? seen[0], times = seen.map(s => s.at), all = field => seen.map(s => s[field] ?? null);
		const rate = field => seen.map((s, i) => i ? Math.max(0, s[field] - seen[i - 1][field]) / (s.at - seen[i - 1].at) : null);
		bucket.update(times, [{ name: 'tokens', values: all('tokens') }, { name: 'capacity', values: all('capacity'), colour: 'soft' }]);
		facts(known, [['Tokens left', `${short(Math.floor(u.tokens))} of ${short(client?.capacity)}`, exact(u.tokens)],
			['Limit', client && `capacity ${client.capacity}, ${client.rate_per_second} a second${client.plan ? `, plan ${client.plan}` : ''}`],
			...(registered ? [['Passed', short(u.allowed), exact(u.allowed)], ['Rejected', short(u.limited), exact(u.limited)]] : []),
			['In flight', short(u.in_flight), exact(u.in_flight)],
			...(registered ? [['Last seen', u.last_seen ? atFullTime(u.last_seen) : 'never']] : [])]);
		if (!registered) return;
		passed.update(times, [{ name: 'passed', values: rate('allowed'), colour: 'good' }, { name: 'rejected', values: rate('limited'), colour: 'warn' },
			...(client?.trial ? [{ name: 'trial would reject', values: rate('trial_limited'), colour: 'other' }] : [])]);
		text(watched, !client?.trial ? 'A trial counts what a limit would reject, and rejects nothing.'
			: `On trial: capacity ${client.trial.capacity}, ${client.trial.rate_per_second} a second. It would have rejected ${exact(u.trial_limited)} requests so far. ` +
			`In the last ${span(u.at - lately.at)} it would have rejected ${exact(u.trial_limited - lately.trial_limited)}, and the limit rejected ${exact(u.limited - lately.limited)}.`);
	}
	return { open, update };
}
