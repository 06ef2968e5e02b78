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

let leaves; // the timer that ends what is said

// say shows what was done for a while, or why it was not until it is dismissed.
function say(what, failed) {
	const p = el('p', { class: failed && 'failed' }, `${failed ? '✗' : '✓'} ${atTime(Date.now())} ${what} `,
		el('button', { 'aria-label': 'Dismiss', onclick: () => p.remove() }, '×'));
	byId('said').replaceChildren(p);
	clearTimeout(leaves);
	if (!failed) leaves = setTimeout(() => p.contains(document.activeElement) || p.remove(), 15000);
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
