// The widgets' sliders leave their handles without a name, so that a screen reader says no more than "slider":
// those beside this widget get their labels for names, and their readouts for values.

function nameSliders(around) {
  for (const slider of around.querySelectorAll(".widget-slider")) {
    for (const handle of slider.querySelectorAll(".noUi-handle")) {
      handle.ariaLabel = slider.querySelector("label")?.textContent ?? "";
      handle.ariaValueText = slider.querySelector(".widget-readout")?.textContent ?? "";
    }
  }
}

export default {
  render({el}) {
    el.hidden = true;
    let waiting;
    const watcher = new MutationObserver(() => nameSliders(el.parentElement));
    const begin = () => {
      if (!el.parentElement) return void (waiting = setTimeout(begin, 100));  // not in the page yet
      watcher.observe(el.parentElement, {childList: true, characterData: true, subtree: true});
      nameSliders(el.parentElement);
    };
    begin();
    return () => { clearTimeout(waiting); watcher.disconnect(); };
  },
};
