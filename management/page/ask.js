// What is asked before an action, and said after it.

import { byId, el } from './dom.js';
import { atTime } from './format.js';

// ask shows a question, and returns whether the answer is yes.
export function ask(question, yes) {
	return new Promise(answer => {
		const no = el('button', { value: '' , autofocus: true }, 'Cancel');
		const dialog = el('dialog', { 'aria-label': question }, el('form', { method: 'dialog' },
			el('p', {}, question), el('div', { class: 'acts' }, no, el('button', { value: 'yes' }, yes))));
		dialog.addEventListener('close', () => { dialog.remove(); answer(dialog.returnValue === 'yes'); });
		document.body.append(dialog);
		dialog.showModal();
	});
}

// say shows what was done, or why it was not, until it is dismissed.
export function say(what, failed = false) {
	const p = el('p', { class: failed ? 'failed' : null }, el('span', {}, `${failed ? '✗' : '✓'} ${atTime(Date.now())} ${what}`),
		el('button', { 'aria-label': 'Dismiss', onclick: () => p.remove() }, '×'));
	byId('said').prepend(p);
	while (byId('said').children.length > 4) byId('said').lastChild.remove();
}

// attempt runs an action, and says what it returns, or how it has failed in words.
export async function attempt(what, action) {
	try {
		const said = await action();
		if (said) say(said);
		return true;
	} catch (e) {
		say(`${what} failed: ${e.message}`, true);
		return false;
	}
}
