// What a lab looks like below its controls: note, panels, sentence, small print. Widgets and saved pages share it.

const SYMBOLS = {circle: "●", "circle-open": "○", square: "■", diamond: "◆", x: "✕", star: "★", "line-ew-open": "–",
  "triangle-up": "▲", pentagon: "⬟", hexagon: "⬢"};
const DASHES = {dash: "6 3", dot: "2 2", dashdot: "6 2 2 2", longdash: "9 3", longdashdot: "9 2 2 2"};
const CLEAR = "rgba(0,0,0,0)";

function made(tag, name, parent, text = "") {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = text;
  parent.append(element);
  return element;
}

// An entry of a legend: how the trace is drawn, and its name. In HTML, so that long ones wrap and none is cut.
function entry(trace) {
  const {line = {}, marker = {}, mode = "", fillcolor, type} = trace;
  const draw = [], colour = marker.color ?? line.color ?? fillcolor;
  if (type === "bar" || fillcolor) {
    draw.push(`<rect width="26" height="10" y="1" fill="${colour && type === "bar" ? colour : fillcolor}"/>`);
    if (marker.pattern?.shape) draw.push('<path d="M2 11L10 1M10 11L18 1M18 11L26 1" stroke="#444" fill="none"/>');
  } else if (mode.includes("lines")) {
    draw.push(`<path d="M0 6H26" fill="none" stroke="${line.color}" stroke-width="2" stroke-dasharray="${DASHES[line.dash] ?? ""}"/>`);
  }
  if (mode.includes("markers")) {
    draw.push(`<text x="13" y="10" text-anchor="middle" font-size="12" fill="${colour}">${SYMBOLS[marker.symbol ?? "circle"] ?? "●"}</text>`);
  }
  const item = document.createElement("span");
  item.className = trace.visible === "legendonly" ? "lnlib-entry lnlib-faint" : "lnlib-entry";
  item.innerHTML = `<svg width="26" height="12" aria-hidden="true" opacity="${trace.opacity ?? 1}">${draw.join("")}</svg>`;
  item.append(trace.name);
  return item;
}

class Panel {  // one figure: heading, legend, plot
  constructor(parent) {
    this.frame = made("section", "lnlib-panel", parent);
    this.title = made("h4", "lnlib-title", this.frame);
    this.subtitle = made("p", "lnlib-subtitle", this.frame);
    this.legend = made("p", "lnlib-legend", this.frame);
    this.host = made("div", "lnlib-plot", this.frame);
    this.waiting = made("p", "lnlib-waiting", this.frame, "drawing …");
    this.shown = null;
  }
  async draw(Plotly, figure) {  // whether the pixels changed
    const {title, legend, height, margin, ...layout} = figure.layout;
    const head = JSON.stringify([title, layout.meta, figure.data.map((trace) => [trace.name, trace.visible])]);
    if (this.head !== head) {
      this.title.textContent = title?.text ?? "";
      this.subtitle.textContent = layout.meta?.subtitle ?? "";
      this.legend.replaceChildren(...figure.data
        .filter((trace) => trace.name && trace.showlegend !== false && trace.visible !== false).map(entry));
      this.head = head;
    }
    const width = Math.floor(this.host.clientWidth), tall = Math.floor(this.host.clientHeight);
    if (!width || !tall) return false;  // out of sight, as while JupyterLab changes its theme; the observer comes back
    const shown = JSON.stringify([figure, width, tall]);
    if (this.shown === shown) return false;
    try {
      await Plotly.react(this.host, figure.data, {
        ...layout, width, height: tall, autosize: false, showlegend: false, paper_bgcolor: CLEAR, plot_bgcolor: CLEAR,
        margin: {t: 12, r: 20, l: margin?.l ?? 58, b: 44},
      }, {displayModeBar: false});
    } catch (error) {
      this.tell("This figure could not be drawn: " + error.message);
      return false;
    }
    this.shown = shown;
    this.host.setAttribute("role", "img");
    this.host.setAttribute("aria-label", layout.meta?.alt ?? "");
    this.tell("");
    return true;
  }
  tell(text) { this.waiting.textContent = text; this.waiting.hidden = !text; }
}

class Board {
  constructor(element, plotly) {  // `plotly` gives a promise of plotly
    Object.assign(this, {element, plotly, panels: [], last: null, next: null, working: false});
    element.classList.add("lnlib-board");
    this.note = made("p", "lnlib-note", element);
    this.row = made("div", "lnlib-panels", element);
    this.sentence = made("p", "lnlib-sentence", element);
    this.small = made("p", "lnlib-small", element);
    for (const told of [this.note, this.sentence]) told.setAttribute("aria-live", "polite");
    this.sentence.setAttribute("role", "status");
    this.resizes = new ResizeObserver(() => this.show(this.last));
    this.resizes.observe(this.row);
  }
  show(scene) {  // the last call wins: what comes while the page draws takes the place of what waits
    if (!scene) return;
    this.last = this.next = scene;
    for (const [place, text] of [[this.note, scene.note], [this.sentence, scene.sentence], [this.small, scene.small_print]]) {
      if (place.textContent !== text) place.textContent = text;
    }
    while (this.panels.length < scene.figures.length) this.panels.push(new Panel(this.row));
    if (!this.working) this.work();
  }
  async work() {
    this.working = true;
    try {
      const Plotly = this.Plotly = await this.plotly();
      while (this.next) {
        const {figures} = this.next, began = performance.now();
        this.next = null;
        let changed = 0;
        for (const [at, figure] of figures.entries()) changed += await this.panels[at].draw(Plotly, figure);
        if (changed) this.element.dataset.milliseconds = (performance.now() - began).toFixed(1);
        await new Promise((resolve) => setTimeout(resolve));  // let the slider move
      }
    } catch (error) {
      for (const panel of this.panels) {
        if (!panel.shown) panel.tell(`The figures could not be drawn: ${error.message}. Reload the page, then run this cell again.`);
      }
      this.next = null;
    } finally { this.working = false; }
  }
  close() {
    this.resizes.disconnect();
    for (const panel of this.panels) this.Plotly?.purge(panel.host);
  }
}

async function runScript(bytes) {  // plotly's source, compressed -> plotly
  const source = new Response(bytes).body.pipeThrough(new DecompressionStream("gzip"));
  const others = globalThis.Plotly, tag = document.createElement("script");
  tag.textContent = await new Response(source).text();
  globalThis.Plotly = undefined;
  document.head.append(tag);  // runs at once
  tag.remove();
  const Plotly = globalThis.Plotly;
  if (others) globalThis.Plotly = others;
  if (!Plotly) throw new Error("plotly did not load");
  return Plotly;
}
