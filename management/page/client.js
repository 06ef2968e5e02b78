// One client: its bucket drawn live, its limit, and a trial of another.

import { byId, el, facts, text } from './dom.js';
import { chart } from './chart.js';
import { ask, attempt } from './ask.js';
import { api, mayWrite } from './session.js';
import { atFullTime, exact, short, span } from './format.js';

const lasting = 300; // seconds that the bucket is drawn for

// details returns in words what a client has beside its limit.
export const details = c => [
	c.blocked && '✗ blocked', c.shadow && 'only counted', c.plan && `plan ${c.plan}`, c.trial && 'on trial',
	c.each && 'each address by itself', c.max_in_flight && `at most ${exact(c.max_in_flight)} in flight`,
	c.expires_at && `until ${atFullTime(c.expires_at)}`, ...Object.entries(c.labels || {}).map(label => label.join('=')),
].filter(x => x).join(', ');

const terms = l => `capacity ${l.capacity}, ${l.rate_per_second} a second`;

export function showClient(node) {
	let one = {}; // the client that is open, and what was seen of it
	const heading = el('h3', { tabindex: -1 }), note = el('p', { role: 'status' }), known = el('dl'), watched = el('p');
	const draw = (name, unit) => chart({ name, unit, sync: 'bucket', lasting });
	const bucket = draw('Bucket', 'tokens'), passed = draw('Requests of the client', 'a second');
	const limit = limitForm('limit', 'Set the limit', to => act(setLimit, limit.form, to));
	const trial = limitForm('trial', 'Start a trial', to => act(startTrial, trial.form, to));
	const running = el('div', { class: 'acts' }, el('button', { onclick: () => act(takeOver, limit.form) }, 'Take over as the limit'),
		el('button', { onclick: () => act(endTrial, trial.form) }, 'End the trial'));
	const tried = el('div', {}, el('h4', {}, 'Trial of another limit'), watched, running, trial.form);
	const all = el('div', {}, known, limit.form, el('div', { class: 'charts' }, bucket.node, passed.node), tried);
	node.append(el('div', { class: 'row' }, heading, el('button', { onclick: close }, 'Close')), note, all);

	async function open(name, registered) {
		const of = one = { name, path: `clients/${encodeURIComponent(name)}`, registered, seen: [] };
		all.hidden = true;
		node.hidden = false;
		text(heading, `Client ${name}`);
		text(note, '');
		limit.form.reset();
		trial.form.reset();
		await update();
		if (of !== one) return;
		heading.focus();
		node.scrollIntoView();
	}

	function close() {
		one = {};
		node.hidden = true;
		byId('find').focus();
	}

	// act changes the client that is open, and shows what it has become.
	async function act(action, form, to) {
		const of = one;
		if (!await action(of, to)) return;
		if (of === one) form.reset(); // before more is typed
		of.asking = false; // what is under way was read before
		update();
	}

	// update shows the client as it is now. What is typed into the forms stays.
	async function update() {
		const of = one, had = of.tag;
		if (!of.name || of.asking) return;
		of.asking = true;
		try {
			const [client, tag, usage] = await read(of);
			if (of !== one || had !== of.tag) return; // another was opened, or this one changed
			Object.assign(one, { client, tag, seen: addSample(one.seen, client, usage) });
			text(note, one.registered ? '' : 'Not registered: the default limit counts. Set a limit to register it.');
			show();
		} catch (e) {
			if (of === one) text(note, e.message);
		} finally {
			of.asking = false;
		}
	}

	function show() {
		const { registered, client, seen } = one, times = seen.map(s => s.at);
		all.hidden = false;
		facts(known, factsOf(one));
		bucket.update(times, [
			{ name: 'tokens', values: seen.map(s => s.tokens) },
			{ name: 'capacity', values: seen.map(s => s.capacity), colour: 'soft' },
		]);
		limit.form.hidden = !mayWrite();
		limit.set(client);
		passed.node.hidden = !registered;
		tried.hidden = !registered || !mayWrite() || client.each;
		if (!registered) return;
		passed.update(times, requestLines(seen));
		trial.set(client.trial ?? client);
		text(watched, trialSoFar(seen));
		running.hidden = !client.trial;
		text(trial.form.lastChild, client.trial ? 'Change the trial' : 'Start a trial');
		if (running.hidden && running.contains(document.activeElement)) trial.form.lastChild.focus();
	}
	return { open, update };
}

function limitForm(id, label, submit) {
	const number = (field, min, step) => el('input', { type: 'number', min, step, required: true, id: `${id}-${field}` });
	const capacity = number('capacity', 1, 1), rate = number('rate', 0, 'any');
	const onsubmit = event => {
		event.preventDefault();
		submit({ capacity: +capacity.value, rate_per_second: +rate.value });
	};
	const form = el('form', { class: 'row', onsubmit },
		el('label', {}, 'Capacity (burst) ', capacity), el('label', {}, 'Rate a second ', rate), el('button', {}, label));
	return { form, set(limit) { capacity.defaultValue = limit.capacity; rate.defaultValue = limit.rate_per_second; } };
}

// read returns a client as it is now, its ETag and its usage.
async function read({ name, path, registered }) {
	if (!registered) {
		const [{ limit }] = await api('POST', 'explain', { url: '/', from: name.split('/')[0] });
		return [limit, undefined, limit];
	}
	const [[client, tag], [usage]] = await Promise.all([api('GET', path), api('GET', path + '/usage')]);
	const [plan] = client.plan ? await api('GET', `plans/${client.plan}`) : [];
	return [{ ...plan, ...client }, tag, usage];
}

// change sets fields of the client, unless it has changed since it had the tag. It registers a new one.
const change = (one, tag, what, fields, said) => attempt(`${what} of ${one.name}`, async () => {
	const call = one.registered ? api('PATCH', one.path, fields, { headers: { 'If-Match': tag } })
		: api('POST', 'clients/', { ip_address: one.name, ...fields });
	one.tag = (await call)[1];
	if (!one.registered) one.seen = [];
	one.registered = true;
	return said;
});

// isMeant asks about a rate below what is let through now.
function isMeant({ name, seen }, rate) {
	const now = useNow(seen), yes = 'Set the lower limit';
	return rate >= now || ask(`${name} has ${short(now)} requests a second let through now, more than ${rate}. ${yes}?`, yes);
}

async function setLimit(one, limit, fields = limit) {
	const { name, tag, client } = one, said = `${name}: ${terms(limit)}; before, ${terms(client)}`;
	return await isMeant(one, limit.rate_per_second) && change(one, tag, 'The limit', fields, said);
}

const takeOver = one => setLimit(one, one.client.trial, { ...one.client.trial, trial: null });

const startTrial = (one, trial) => change(one, one.tag, 'The trial', { trial }, `On trial for ${one.name}: ${terms(trial)}`);

const endTrial = one => change(one, one.tag, 'The end of the trial', { trial: null },
	`The trial of ${one.name} is ended. It would have rejected ${exact(one.seen.at(-1).trial_limited)} requests`);

function addSample(seen, client, usage) {
	const now = {
		...usage, at: Date.now() / 1000, capacity: client.capacity, onTrial: client.trial && terms(client.trial),
		allowed: usage.allowed + usage.shadow_limited, limited: usage.limited + usage.blocked,
	};
	const had = seen.at(-1), wasReset = had && now.allowed + now.limited < had.allowed + had.limited;
	return wasReset ? [now] : [...seen, now].slice(-lasting);
}

const grown = (count, from, to) => Math.max(0, to[count] - from[count]);
const perSecond = (count, from, to) => grown(count, from, to) / (to.at - from.at);

// useNow returns how many requests a second passed in the last 10 s, 0 where unknown.
const useNow = seen => seen.length && perSecond('allowed', seen.at(-11) ?? seen[0], seen.at(-1)) || 0;

function factsOf({ client, registered, seen }) {
	const now = seen.at(-1), more = details(client), tokens = `${short(Math.floor(now.tokens))} of ${short(client.capacity)}`;
	return [
		[client.each ? 'Tokens of a new address' : 'Tokens left', tokens, exact(now.tokens)],
		['Limit', terms(client)],
		more && ['Details', more],
		registered && client.shadow && ['Passed beyond the limit', now.shadow_limited],
		['In flight', now.in_flight],
		registered && ['Passed in all', now.allowed],
		registered && ['Rejected in all', now.limited],
		registered && ['Last seen', now.last_seen ? atFullTime(now.last_seen) : 'never'],
	];
}

function requestLines(seen) {
	const { onTrial } = seen.at(-1);
	const rate = count => seen.map((s, i) => i ? perSecond(count, seen[i - 1], s) : null);
	const ofTrial = rate('trial_limited').map((r, i) => seen[i - 1]?.onTrial === onTrial ? r : null);
	return [
		{ name: 'passed', values: rate('allowed'), colour: 'good' },
		{ name: 'rejected', values: rate('limited'), colour: 'warn' },
		...onTrial ? [{ name: 'trial would reject', values: ofTrial, colour: 'other' }] : [],
	];
}

// trialSoFar says what the trial would have rejected, in all and in the last minute.
function trialSoFar(seen) {
	const now = seen.at(-1), then = seen.slice(-61).find(s => s.onTrial === now.onTrial);
	return !now.onTrial ? 'A trial counts what a limit would reject, and rejects nothing.'
		: `On trial: ${now.onTrial}. It would have rejected ${exact(now.trial_limited)} requests, ` +
		`in the last ${span(now.at - then.at)} ${exact(grown('trial_limited', then, now))} ` +
		`where the limit rejected ${exact(grown('limited', then, now))}.`;
}
