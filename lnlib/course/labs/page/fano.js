// FanoLab's answers: Theorem 2.1 by bisection, into the figures of plots.fano_crossing and plots.fano_family.

const xlog = (x) => x > 0 ? x * Math.log2(x) : 0;
const leftSide = (r, k) => -xlog(r) - xlog(1 - r) + r * Math.log2(k - 1);  // of the noise rate it is H(y|x)

function r0(entropy, information, k) {
  const most = (k - 1) / k, unknown = Math.min(Math.max(0, entropy - information), leftSide(most, k));
  if (unknown <= 0) return 0;
  let low = 0, high = most;
  for (let halved = 0; halved < 60; halved++) {
    const middle = (low + high) / 2;
    if (leftSide(middle, k) < unknown) low = middle; else high = middle;
  }
  return high;
}

const even = (from, to, count = 200) => Array.from({length: count}, (_, at) => at === count - 1 ? to : from + (to - from) * at / (count - 1));
const down = (x) => Math.floor(100 * x) / 100;

function limits({num_classes}) { return {rate: down(1 - 1 / num_classes), information: down(Math.log2(num_classes))}; }

function answer(scene, {num_classes: k, rate, information}, words) {
  const [crossing, family] = scene.figures;
  const most = Math.log2(k), turn = (k - 1) / k, top = 1.1 * most;
  const entropy = leftSide(rate, k), level = Math.max(0, entropy - information), smallest = r0(entropy, information, k);
  const share = (100 * smallest).toFixed(1) + "%";
  const [rising, falling, all, left, impossible, arrow, drop, point] = crossing.data;
  for (const [trace, from, to] of [[rising, 0, turn], [falling, turn, 1]]) {
    trace.x = even(from, to);
    trace.y = trace.x.map((r) => leftSide(r, k));
  }
  all.y = [entropy, entropy];
  left.y = [level, level];
  Object.assign(impossible, {x: [0, smallest, smallest, 0], y: [0, 0, top, top]});
  Object.assign(arrow, {y: [level, (level + entropy) / 2, entropy], text: ["", entropy - level > most / 10 ? "I/n " : "", ""]});
  Object.assign(drop, {x: [smallest, smallest], y: [0, level]});
  const low = level < most / 8;
  Object.assign(point, {
    x: [smallest], y: [level], text: [(low ? "\u2003\u2003" : "") + `<b>r₀ = ${share}</b>`],
    textposition: `${low ? "top" : "bottom"} ${smallest < 0.7 ? "right" : "left"}`,
  });
  crossing.layout.yaxis.range = [0, top];
  const curve = (p) => ({x: even(0, most), y: even(0, most).map((bits) => r0(leftSide(p, k), bits, k))});
  [0.2, 0.4, 0.6, 0.8].forEach((p, at) => {
    const visible = p <= 1 - 1 / k;
    Object.assign(family.data[at], visible ? curve(p) : {x: [], y: []}, {visible});
  });
  Object.assign(family.data[4], curve(rate), {name: `your p = ${Math.round(100 * rate)}%`});
  Object.assign(family.data[5], {x: [information, information, 0], y: [0, smallest, smallest]});
  Object.assign(family.data[6], {
    x: [information], y: [smallest], text: [`<b>r₀ = ${share}</b>`], textposition: information < 0.6 * most ? "top right" : "top left",
  });
  family.layout.xaxis.range = [0, most];
  scene.sentence = filled(smallest > 0 ? words.some : words.none,
    {wrong: percent(rate), memorised: bits(information), errors: percent(smallest)});
  return scene;
}
