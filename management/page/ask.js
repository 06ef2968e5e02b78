// What is asked before an action, and said after it.

import { byId, el } from './dom.js';
import { atTime } from './format.js';

// ask shows a question, and returns whether the answer is yes, or with a field, what is typed there.
export function ask(question, yes, field) {
	return new Promise(answer => {
		const cancel = el('button', { type: 'button', autofocus: !field, onclick: () => dialog.close() }, 'Cancel');
		const dialog = el('dialog', { 'aria-label': question }, el('form', { method: 'dialog' },
			el('p', {}, question), field, el('div', { class: 'acts' }, cancel, el('button', { value: 'yes' }, yes))));
		dialog.onclose = () => { dialog.remove(); answer(dialog.returnValue === 'yes' && (field ? field.value : true)); };
		document.body.append(dialog);
		dialog.showModal();
	});
}

// say shows success for a while, and a failure until it is dismissed or the next.
function say(what, failed) {
	const p = el('p', { class: failed && 'failed' }, `${failed ? '✗' : '✓'} ${atTime(Date.now())} ${what} `,
		el('button', { 'aria-label': 'Dismiss', onclick: () => p.remove() }, '×'));
	byId('said')[failed ? 'replaceChildren' : 'prepend'](p);
	if (!failed) setTimeout(() => p.contains(document.activeElement) || p.remove(), 15000);
}

const underWay = new Set(); // what is attempted, which a second click does not repeat

// attempt runs an action, and says what it returns, or how it has failed in words.
export async function attempt(what, action) {
	if (underWay.has(what)) return false;
	underWay.add(what);
	try {
		const said = await action();
		if (said) say(said);
		return !!said;
	} catch (e) {
		say(`${what} failed: ${e.message}`, true);
		return false;
	} finally {
		underWay.delete(what);
	}
}
