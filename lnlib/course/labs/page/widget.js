// The widget in JupyterLab: what the kernel holds in `scene` is what the board shows.

const held = (model, name) => model.widget_manager.get_model(model.get(name).slice("IPY_MODEL_".length));

function plotly(model) {  // once a page; a failure may be tried again
  return globalThis.lnlibPlotly ??= held(model, "script").then((script) => runScript(script.get("value")))
    .catch((error) => { globalThis.lnlibPlotly = undefined; throw error; });
}

export default {
  initialize,
  async render({model, el}) {
    const board = new Board(el, () => plotly(model));
    const scene = await held(model, "scene");  // a plain widget model: its messages wait for no module
    const show = () => board.show(JSON.parse(scene.get("value")));
    const kernel = model.widget_manager.kernel;  // of JupyterLab; elsewhere the comm alone tells
    const live = () => {
      const gone = scene.comm_live === false || kernel?.isDisposed || kernel?.status === "dead";
      for (const part of el.closest(".lnlib-lab")?.children ?? []) if (!part.contains(el)) part.inert = gone;
      el.closest(".lnlib-lab")?.classList.toggle("lnlib-gone", gone);
      if (gone) board.note.textContent = "The kernel of this lab is gone. Run its cell again.";
    };
    scene.on("change:value", show);
    scene.on("comm_live_update", live);
    for (const signal of [kernel?.statusChanged, kernel?.disposed]) signal?.connect(live);
    show();
    live();
    const unname = nameSliders(el);
    return () => {
      unname();
      scene.off("change:value", show);
      scene.off("comm_live_update", live);
      for (const signal of [kernel?.statusChanged, kernel?.disposed]) signal?.disconnect(live);
      board.close();
    };
  },
};
