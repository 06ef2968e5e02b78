// How figures and times read: short ones, with the whole one at hand.

const few = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 });
const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 3 });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'long' });

export const exact = n => n == null ? '' : whole.format(n);
export const atTime = t => clock.format(new Date(t));
export const atFullTime = t => full.format(new Date(t));

// short returns 3 digits of a number and a unit, with K, M or B for thousands, millions and billions.
export const short = (n, unit = '') => n == null ? '–' : few.format(n) + unit;
export const bytes = n => short(n / 2 ** 20, ' MiB');
export const ms = n => short(n, ' ms');
export const percent = part => short(part == null ? part : 100 * part, ' %');

const units = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];

// span returns a time in seconds in its two largest units.
export function span(s) {
	s = Math.max(0, Math.round(s));
	const i = units.findIndex(([n]) => n <= (s || 1));
	return units.slice(i, i + 2).map(([n, name], rest) => Math.floor((rest ? s % units[i][0] : s) / n) + ' ' + name).join(' ');
}
