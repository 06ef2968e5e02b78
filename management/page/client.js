// One client: its bucket drawn live, its limit, and a trial of another.

import { byId, el, facts, text } from './dom.js';
import { chart } from './chart.js';
import { ask, attempt } from './ask.js';
import { api, mayWrite } from './session.js';
import { atFullTime, exact, short, span } from './format.js';

const lasting = 300; // seconds that the bucket is drawn for

// details returns in words what a client has beside its limit.
export const details = c => [c.blocked && '✗ blocked', c.shadow && 'only counted', c.plan && `plan ${c.plan}`, c.trial && 'on trial', c.each && 'each address by itself',
	c.max_in_flight && `at most ${exact(c.max_in_flight)} in flight`, c.expires_at && `until ${atFullTime(c.expires_at)}`,
	...Object.entries(c.labels || {}).map(([k, v]) => `${k}=${v}`)].filter(x => x).join(', ');

// terms returns a limit in words.
const terms = l => `capacity ${l?.capacity}, ${l?.rate_per_second} a second`;

// limitForm is a form for a capacity and a rate.
function limitForm(id, label, submit) {
	const capacity = el('input', { type: 'number', min: 1, step: 1, required: true, id: `${id}-capacity` });
	const rate = el('input', { type: 'number', min: 0, step: 'any', required: true, id: `${id}-rate` });
	const form = el('form', { class: 'row', onsubmit: e => { e.preventDefault(); submit({ capacity: Number(capacity.value), rate_per_second: Number(rate.value) }); } },
		el('label', {}, 'Capacity (burst) ', capacity), el('label', {}, 'Rate a second ', rate), el('button', {}, label));
	return { form, set(limit) { capacity.value = limit.capacity; rate.value = limit.rate_per_second; } };
}

// standing returns the limit of an address that is not registered, and the tokens that it has.
async function standing(address) {
	const [{ limit }] = await api('POST', 'explain', { url: 'http://localhost/', from: address.split('/')[0] });
	return [[limit], [limit]];
}

// useNow returns how many requests a second were let through in the last 10 seconds, 0 where unknown.
function useNow(seen) {
	const first = seen.at(-11) ?? seen[0], last = seen.at(-1);
	return Math.max(0, last?.allowed - first?.allowed) / (last?.at - first?.at) || 0;
}

export function showClient(node) {
	let name = '', registered = false, client = null, tag = null, seen = [], asking = false;
	const path = () => `clients/${encodeURIComponent(name)}`;
	const heading = el('h3', { tabindex: -1 }), known = el('dl'), note = el('p', { role: 'status' });
	const bucket = chart({ name: 'Bucket', unit: 'tokens', sync: 'bucket', lasting });
	const passed = chart({ name: 'Requests of the client', unit: 'a second', sync: 'bucket', lasting });
	const limit = limitForm('limit', 'Set the limit', setLimit);
	const trial = limitForm('trial', 'Start a trial', t => patch('The trial', { trial: t }, `On trial for ${name}: ${terms(t)}`));
	const take = el('button', { onclick: takeOver }, 'Take over as the limit');
	const stop = el('button', { onclick: () => patch('Ending the trial', { trial: null }, `The trial of ${name} is ended. It would have rejected ${exact(seen.at(-1)?.trial_limited)} requests`) }, 'End the trial');
	const watched = el('p'), running = el('div', { class: 'acts' }, take, stop);
	const tried = el('div', {}, el('h4', {}, 'Trial of another limit'), watched, running, trial.form);
	node.append(el('div', { class: 'row' }, heading, el('button', { onclick() { name = ''; node.hidden = true; byId('find').focus(); } }, 'Close')), note, known, limit.form,
		el('div', { class: 'charts' }, bucket.node, passed.node), tried);

	async function open(newName, isRegistered) {
		[name, registered, client, seen] = [newName, isRegistered, null, []];
		node.hidden = false;
		text(heading, `Client ${name}`);
		text(note, '');
		known.replaceChildren();
		show();
		await update();
		heading.focus();
		node.scrollIntoView();
	}

	function show() {
		limit.form.hidden = !mayWrite();
		passed.node.hidden = !registered;
		tried.hidden = !registered || !mayWrite() || client?.each;
		running.hidden = !client?.trial;
		text(trial.form.querySelector('button'), client?.trial ? 'Change the trial' : 'Start a trial');
	}

	async function patch(what, body, said) {
		const of = name;
		return attempt(what, async () => {
			const now = await api('PATCH', path(), body, { headers: { 'If-Match': tag } });
			if (of === name) { [client, tag] = now; show(); }
			return said;
		});
	}

	// isMeant asks about a rate below what is let through now.
	const isMeant = rate => rate >= useNow(seen) ||
		ask(`${name} has ${short(useNow(seen))} requests a second let through now, more than ${rate}. Set the lower limit?`, 'Set the lower limit');

	async function setLimit(l) {
		if (!await isMeant(l.rate_per_second)) return;
		const said = `${name}: ${terms(l)}; before, ${terms(client)}`;
		if (!registered) {
			if (await attempt('The limit', () => api('POST', 'clients/', { ip_address: name, ...l }).then(() => said))) open(name, true);
		} else if (await patch('The limit', l, said) && !client.trial) trial.set(client);
	}

	async function takeOver() {
		const { capacity, rate_per_second } = client.trial;
		if (await isMeant(rate_per_second) &&
			await patch('Taking over the trial', { capacity, rate_per_second, trial: null }, `${name} has the limit of its trial: ${terms(client.trial)}`)) limit.set(client);
	}

	// update shows the client as it is now. What is typed into the forms stays.
	async function update() {
		if (!name || asking) return;
		const of = name, had = tag, opens = !client;
		asking = true;
		try {
			const [[found, itsTag], [u]] = registered ? await Promise.all([api('GET', path()), api('GET', path() + '/usage')]) : await standing(name);
			const [plan] = found.plan ? await api('GET', `plans/${found.plan}`) : [];
			if (of !== name || had !== tag) return; // another was opened, or this one changed
			[client, tag] = [{ ...plan, ...found }, itsTag];
			if (opens) { limit.set(client); trial.set(client.trial ?? client); }
			text(note, registered ? '' : 'Not registered: the default limit counts. Set a limit to register it.');
			show();
			draw({ ...u, limited: u.limited + u.blocked, allowed: u.allowed + u.shadow_limited, at: Date.now() / 1000 });
		} catch (e) {
			if (of === name) text(note, e.message);
		} finally {
			asking = false;
		}
	}

	function draw(u) {
		if (u.allowed < seen.at(-1)?.allowed) seen = []; // it was reset
		const onTrial = client.trial && terms(client.trial);
		seen = [...seen, { ...u, capacity: client.capacity, onTrial }].slice(-lasting);
		const lately = seen.slice(-61).find(s => s.onTrial === onTrial), times = seen.map(s => s.at), all = field => seen.map(s => s[field] ?? null);
		const rate = field => seen.map((s, i) => i ? Math.max(0, s[field] - seen[i - 1][field]) / (s.at - seen[i - 1].at) : null);
		bucket.update(times, [{ name: 'tokens', values: all('tokens') }, { name: 'capacity', values: all('capacity'), colour: 'soft' }]);
		facts(known, [[client.each ? 'Tokens of a new address' : 'Tokens left', `${short(Math.floor(u.tokens))} of ${short(client.capacity)}`, exact(u.tokens)],
			['Limit', terms(client)], details(client) && ['Details', details(client)], registered && client.shadow && ['Passed beyond the limit', u.shadow_limited], ['In flight', u.in_flight],
			registered && ['Passed in all', u.allowed], registered && ['Rejected in all', u.limited], registered && ['Last seen', u.last_seen ? atFullTime(u.last_seen) : 'never']]);
		if (!registered) return;
		passed.update(times, [{ name: 'passed', values: rate('allowed'), colour: 'good' }, { name: 'rejected', values: rate('limited'), colour: 'warn' },
			...(client.trial ? [{ name: 'trial would reject', values: rate('trial_limited').map((v, i) => seen[i - 1]?.onTrial === onTrial ? v : null), colour: 'other' }] : [])]);
		text(watched, !client.trial ? 'A trial counts what a limit would reject, and rejects nothing.'
			: `On trial: ${terms(client.trial)}. It would have rejected ${exact(u.trial_limited)} requests, ` +
			`in the last ${span(u.at - lately.at)} ${exact(u.trial_limited - lately.trial_limited)} where the limit rejected ${exact(u.limited - lately.limited)}.`);
	}
	return { open, update };
}
