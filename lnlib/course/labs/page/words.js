// Numbers in words, as lnlib.course.labs.words has them, for sentences that both fill into the same templates.

const significant = (x, digits) => String(+x.toPrecision(digits));
const percent = (share) => 100 * share < 0.001 && share > 0 ? "under 0.001%" : significant(100 * share, 3) + "%";
const bits = (amount) => significant(amount, 3) + (amount === 1 ? " bit" : " bits");
const filled = (template, values) => template.replace(/\{(\w+)\}/g, (_, name) => values[name]);
