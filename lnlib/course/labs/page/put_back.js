// JupyterLab looks two seconds for the widget of each output of a page that it opens, and does not look once more
// at their end: where the page was busy just then, it says "model not found" for good, although the kernel's answer
// had come. Put the outputs of widgets that came and that nobody sees in place again, each of them once.

const VIEW = "application/vnd.jupyter.widget-view+json", LOST = "Error displaying widget: model not found";
const EVERY = 2500;  // milliseconds; whoever looked for a widget before it was there has given up by then

const lost = () => [...document.querySelectorAll(".jp-OutputArea-output.jupyter-widgets")]
  .some((output) => output.textContent === LOST);

async function putBack(manager, notebook, done) {
  for (const {outputs} of notebook.cells) {
    for (let at = 0; at < (outputs?.length ?? 0); at++) {
      const output = outputs.get(at), id = output.data[VIEW]?.model_id;
      if (!id || !manager.has_model(id)) continue;
      const seen = Object.keys((await manager.get_model(id)).views ?? {}).length;
      if (seen || done.has(id)) continue;
      done.add(id);
      const {dirty} = notebook;
      outputs.set(at, output.toJSON());
      notebook.dirty = dirty;  // it says what it said
    }
  }
}

function initialize({model: {widget_manager: manager}}) {
  const notebook = manager?.context?.model;  // of JupyterLab
  if (!notebook?.cells || manager.lnlibPutBack) return;  // one widget does it for all
  const done = manager.lnlibPutBack = new Set();
  setInterval(() => { if (lost()) putBack(manager, notebook, done); }, EVERY);
}
