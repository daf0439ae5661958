// What the site's pages do: draw figures when they come into view, run labs, take predictions, count a quiz.

(() => {
  const HOME = document.currentScript.src.replace(/[^/]*$/, "");  // where plotly and the labs lie
  const CLEAR = {paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)"};
  const loaded = {};

  const script = (name) => loaded[name] ??= new Promise((resolve, reject) => {
    const tag = document.createElement("script");
    Object.assign(tag, {src: HOME + name, onload: resolve, onerror: () => reject(new Error(`${name} did not load`))});
    document.head.append(tag);
  });
  const plotly = () => script("plotly.min.js").then(() => globalThis.Plotly);

  function whenNear(element, act) {
    new IntersectionObserver((entries, observer) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      act(element);
    }, {rootMargin: "600px"}).observe(element);
  }

  async function draw(place) {
    const {data, layout} = JSON.parse(place.querySelector("script").textContent);
    const Plotly = await plotly(), host = document.createElement("div");
    host.className = "lnlib-drawn";
    place.append(host);
    const drawing = place.classList.contains("lnlib-drawing");
    if (!drawing) Object.assign(layout, CLEAR, {legend: {...layout.legend, bgcolor: "rgba(0,0,0,0)"}});
    if (layout.width) host.style.minWidth = host.style.width = layout.width + "px"; else layout.autosize = true;
    await Plotly.newPlot(host, data, layout, {responsive: !layout.width, displayModeBar: false, displaylogo: false});
  }

  async function run(lab) {
    const name = lab.dataset.lab;
    await Promise.all([script("labs.js"), script(`lab-${name}.js`)]);
    const [content, own] = globalThis.lnlibLabs[name];
    globalThis.lnlibLab(lab.querySelector("form"), lab.querySelector(".lnlib-place"), content, plotly, own);
  }

  const written = (value, unit) => `${+value.toPrecision(3)} ${unit}`.trim();

  function verdict(said, truth, unit) {  // as lnlib.course.predict says it
    if (typeof said !== "number") return said === truth ? `You said ${said}, and so it is.` : `You said ${said}. It is ${truth}.`;
    const off = said - parseFloat(truth.replaceAll(",", ""));
    const how = +off.toPrecision(2) === 0 ? "spot on" : `${+Math.abs(off).toPrecision(3)} too ${off > 0 ? "high" : "low"}`;
    return `You said ${written(said, unit)}. It is ${truth}: ${how}.`;
  }

  function predict(form) {
    const {name, about, unit = ""} = form.dataset;
    const answer = document.querySelector(`.lnlib-verdict[data-name="${name}"]`);
    form.addEventListener("input", ({target}) => {
      const said = target.type === "range" ? +target.value : target.value;
      const told = form.querySelector("output");
      if (told) told.textContent = written(said, unit);
      if (!answer) return;
      form.dataset.verdict = answer.querySelector("span").textContent = verdict(said, answer.dataset.truth, unit);
      summarise();
    });
  }

  function summarise() {
    for (const list of document.querySelectorAll(".lnlib-summary")) {
      list.replaceChildren(...[...document.querySelectorAll(".lnlib-predict")].map(({dataset}) => {
        const item = document.createElement("li");
        item.textContent = `${dataset.about}: ${dataset.verdict ?? "no prediction yet"}`;
        return item;
      }));
    }
  }

  function count(quiz) {  // the first answer to a question is the one that counts
    const answers = [...quiz.querySelectorAll(".lnlib-answer")], first = {};
    const questions = new Set(answers.map((answer) => answer.getAttribute("name"))).size;
    for (const answer of answers) {
      answer.addEventListener("toggle", () => {
        if (!answer.open) return;
        first[answer.getAttribute("name")] ??= answer.dataset.kind === "right";
        const said = Object.values(first), right = said.filter(Boolean).length;
        quiz.querySelector(".lnlib-score").textContent =
          `${right} of ${questions} right${said.length === questions ? ", all answered" : ""}`;
      });
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    const each = (selector, act) => document.querySelectorAll(selector).forEach(act);
    each(".lnlib-figure", (figure) => whenNear(figure, draw));
    each(".lnlib-lab", (lab) => whenNear(lab, run));
    each(".lnlib-predict", predict);
    each(".lnlib-quiz", count);
    summarise();
  });

  addEventListener("load", async () => {  // a formula within a line does not wrap: one too wide for a phone scrolls
    await globalThis.MathJax?.startup?.promise;
    for (const formula of document.querySelectorAll("mjx-container:not([display])")) {
      const wide = formula.getBoundingClientRect().width > formula.closest("p, li, td, .content").clientWidth;
      formula.classList.toggle("lnlib-wide", wide);
    }
  });
})();
