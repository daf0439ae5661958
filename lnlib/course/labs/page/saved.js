// A saved lab: inputs for the views, answered from stored tables, or by the lab's own `answer` within its `limits`.

const unpacked = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

// Fills a form and a board from a lab's packed content; `plotly` gives a promise of plotly.
async function savedLab(form, element, packed, plotly, {answer, limits}) {
  const {setups, pool, words} = JSON.parse(await new Response(
    new Blob([unpacked(packed)]).stream().pipeThrough(new DecompressionStream("gzip"))).text());
  const board = new Board(element, plotly);
  let setup, inputs;

  function lookedUp() {  // every leaf of the scene from its own table, over the views that it depends on
    const at = inputs.map((input) => input.position()), scene = {};
    for (const [path, axes, ids] of setup.tables) {
      const id = ids[axes.reduce((sum, axis) => sum * setup.shape[axis] + at[axis], 0)];
      if (!id) continue;
      let node = scene;
      path.slice(0, -1).forEach((name, depth) => { node = node[name] ??= typeof path[depth + 1] === "number" ? [] : {}; });
      node[path.at(-1)] = pool[id];
    }
    return scene;
  }

  const values = () => Object.fromEntries(inputs.map((input) => [input.name, input.value()]));

  function update() {
    let note = inputs.map((input) => input.settle()).filter(Boolean).join(" ");
    if (limits) {
      const most = limits(values());
      for (const input of inputs) if (input.name in most) input.limit(most[input.name]);
    }
    inputs.forEach((input) => input.tell());
    const scene = answer ? answer(structuredClone(setup.scene), values(), words) : lookedUp();
    if (note) scene.note = note;
    board.show(globalThis.lnlibScene = scene);
  }

  function inputOf(view) {
    const label = made("label", "", form, view.label + " ");
    const field = made(view.kind === "menu" ? "select" : "input", "", label);
    const told = view.kind === "slider" ? made("output", "", label) : null;
    const {texts} = view;
    const log = view.scale === "log";
    if (view.kind === "menu") { texts.forEach((text) => field.add(new Option(text))); field.selectedIndex = view.at; }
    else if (texts) Object.assign(field, {type: "range", min: 0, max: texts.length - 1, step: 1, value: view.at});
    else if (view.kind === "number") Object.assign(field, {type: "number", min: view.low, max: view.high, step: "any", value: view.value});
    else if (log) Object.assign(field, {type: "range", min: Math.log10(view.low), max: Math.log10(view.high), step: "any", value: Math.log10(view.value)});
    else Object.assign(field, {type: "range", min: view.low, max: view.high, step: view.step, value: view.value});
    field.id = "control-" + view.name;
    field.addEventListener(view.kind === "number" ? "change" : "input", update);
    const position = () => view.kind === "menu" ? field.selectedIndex : +field.value;
    const value = () => {
      if (texts) return view.values[position()];
      return log ? Math.round(10 ** +field.value) : +field.value;
    };
    return {
      name: view.name, position, value,
      limit: (high) => { field.max = high; },
      settle: () => {
        if (view.kind !== "number") return "";
        const typed = field.value, kept = Math.round(Math.min(Math.max(typed === "" ? view.value : +typed, view.low), view.high));
        if (String(kept) === typed) return "";
        field.value = kept;
        return `${view.label} is a whole number from ${view.low} to ${view.high}: ${typed || "nothing"} became ${kept}.`;
      },
      tell: () => {
        const text = texts ? texts[position()] : log ? value().toLocaleString("en-US") : (+field.value).toFixed(2);
        if (told) told.textContent = text;
        if (view.kind === "slider") field.setAttribute("aria-valuetext", text);
      },
    };
  }

  function choose(position) {
    setup = setups[position];
    form.replaceChildren();
    if (setups.length > 1) {
      const menu = made("select", "", made("label", "", form, "trained "));
      menu.id = "control-setup";
      setups.forEach((one) => menu.add(new Option(one.label)));
      menu.selectedIndex = position;
      menu.addEventListener("change", () => { choose(menu.selectedIndex); document.getElementById("control-setup").focus(); });
    }
    inputs = setup.views.map(inputOf);
    update();
  }

  new ResizeObserver(() => element.style.setProperty("--controls", form.offsetHeight + "px")).observe(form);
  choose(0);
}
