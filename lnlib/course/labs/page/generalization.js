// GeneralizationLab's answers: Theorem 2.2, into the figures of plots.gap_by_size and plots.gap_by_information.

const MOST = 1e6;  // examples
const bound = (information, n, sigma) => sigma * Math.sqrt(2 * information * Math.LN2 / n);  // information in bits

function answer(scene, {num_examples: n, information, sigma}, words) {
  const [bySize, byInformation] = scene.figures, allowed = bound(information, 1, sigma), total = information * n;
  const [none, grows, stays, you, ...measured] = bySize.data;
  const sizes = Array.from({length: 101}, (_, at) => Math.round(10 ** (1 + at * 5 / 100)));
  Object.assign(grows, {x: sizes, y: sizes.map(() => allowed)});
  Object.assign(stays, {x: sizes, y: sizes.map((size) => bound(total, size, sigma))});
  const label = [`<b>${allowed.toFixed(2)}</b>`];
  Object.assign(you, {x: [n], y: [allowed], text: label, textposition: n < 30_000 ? "top right" : "top left"});
  const [empty, curve, here, ...others] = byInformation.data;
  const amounts = Array.from({length: 201}, (_, at) => at * 3.4 / 200);
  Object.assign(curve, {x: amounts, y: amounts.map((amount) => bound(amount, 1, sigma))});
  Object.assign(here, {x: [information], y: [allowed], text: label, textposition: information < 0.4 ? "bottom right" : "top left"});
  for (const trace of [none, empty]) trace.y = [2 * sigma, 2 * sigma, 1.7, 1.7];
  for (const trace of [...measured, ...others]) trace.visible = sigma === 0.5 ? true : "legendonly";
  const reach = allowed >= 2 * sigma ? words.empty : words.any;
  scene.sentence = filled(allowed === 0 ? words.nothing : words.allows, {
    memorised: bits(information), gap: allowed.toFixed(2), reach: filled(reach, {range: significant(2 * sigma, 3)}),
    total: Math.floor(total + 0.5).toLocaleString("en-US"), later: significant(bound(total, MOST, sigma), 2),
    most: MOST.toLocaleString("en-US"),
  });
  return scene;
}
