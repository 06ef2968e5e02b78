// How figures and times read: short ones, with the whole one at hand.

export const few = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 });
const whole = new Intl.NumberFormat('en');
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'long' });

// isolated keeps a text from right to left, as some times are, from turning what stands beside it.
const isolated = text => /[\u0590-\u08ff]/.test(text) ? `\u2068${text}\u2069` : text;

// Below 1, 3 digits say more than 3 decimals.
export const exact = n => n == null ? '' : (n < 1 ? few : whole).format(n);
export const atTime = t => isolated(clock.format(new Date(t)));
export const atFullTime = t => isolated(full.format(new Date(t)));

let figure = few.format;

// showWhole has short return whole numbers, or not.
export const showWhole = yes => { figure = yes ? exact : few.format; };

// short returns a number and a unit: 3 digits, with K, M or B for thousands, millions and billions.
export const short = (n, unit = '', times = 1) => n == null ? '–' : figure(n * times) + unit;
export const bytes = n => short(n, ' MiB', 2 ** -20);
export const ms = n => short(n, ' ms');
export const percent = part => short(part, ' %', 100);

const units = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];

// span returns a time in seconds in its two largest units.
export function span(s) {
	s = Math.max(0, Math.round(s));
	const i = units.findIndex(([n]) => n <= (s || 1));
	return units.slice(i, i + 2).map(([n, name], rest) => Math.floor((rest ? s % units[i][0] : s) / n) + ' ' + name).join(' ');
}
