// How figures and times read: short ones, with the whole one at hand.

const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 3 });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'long' });

export const exact = n => whole.format(n);
export const atTime = t => clock.format(new Date(t));
export const atFullTime = t => full.format(new Date(t));

// short returns 3 digits of a number, with k, M or G.
export function short(n) {
	if (n === null || n === undefined) return '–';
	for (const [unit, name] of [[1e9, ' G'], [1e6, ' M'], [1e3, ' k']]) {
		if (Math.abs(n) >= unit) return digits(n / unit) + name;
	}
	return digits(n);
}

const digits = n => Number.isInteger(n) ? String(n) : Math.abs(n) >= 100 ? n.toFixed(0) : Math.abs(n) >= 10 ? n.toFixed(1) : n.toFixed(2);

export const bytes = n => n === null || n === undefined ? '–' : short(n) + 'B';
export const percent = part => part === null || part === undefined ? '–' : (100 * part).toFixed(part > 0 && part < 0.1 ? 1 : 0) + ' %';
export const ms = n => n === null || n === undefined ? '–' : short(n) + ' ms';

// span returns a time in seconds in its two largest units.
export function span(s) {
	s = Math.max(0, Math.round(s));
	if (s < 60) return s + ' s';
	if (s < 3600) return Math.floor(s / 60) + ' min ' + (s % 60) + ' s';
	if (s < 86400) return Math.floor(s / 3600) + ' h ' + Math.floor(s % 3600 / 60) + ' min';
	return Math.floor(s / 86400) + ' d ' + Math.floor(s % 86400 / 3600) + ' h';
}
