// JupyterLab looks two seconds for the widget of each output of a page that it opens, and does not look once more
// at their end: where the page was busy just then, it says "model not found" for good, although the kernel's answer
// had come. Every widget that comes back puts such outputs in place again.

const VIEW = "application/vnd.jupyter.widget-view+json", LOST = "Error displaying widget: model not found";
const LATER = 2500;  // milliseconds; whoever looked before this widget was there has given up by then

async function putBack(manager) {
  for (const {outputs} of manager.context?.model?.cells ?? []) {
    for (let at = 0; at < (outputs?.length ?? 0); at++) {
      const output = outputs.get(at), id = output.data[VIEW]?.model_id;
      const unseen = id && manager.has_model(id) && !Object.keys((await manager.get_model(id)).views ?? {}).length;
      if (unseen) outputs.set(at, output.toJSON());
    }
  }
}

function initialize({model}) {
  setTimeout(() => {
    const shown = [...document.querySelectorAll(".jp-OutputArea-output")];
    if (shown.some((output) => output.textContent === LOST)) putBack(model.widget_manager);
  }, LATER);
}
