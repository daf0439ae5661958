// The widgets' sliders leave their handles without a name, so that a screen reader says no more than "slider":
// those beside an element get their labels for names, and their readouts for values. Returns what ends that.

function nameSliders(el) {
  const name = () => {
    for (const part of el.parentElement?.children ?? []) {
      if (!part.matches(".widget-box, .widget-slider")) continue;  // what is drawn beside them changes often
      watcher.observe(part, {childList: true, characterData: true, subtree: true});
      for (const handle of part.querySelectorAll(".noUi-handle")) {
        const slider = handle.closest(".widget-slider");
        handle.ariaLabel = slider?.querySelector("label")?.textContent ?? "";
        handle.ariaValueText = slider?.querySelector(".widget-readout")?.textContent ?? "";
      }
    }
  };
  const watcher = new MutationObserver(name);
  let waiting;
  const begin = () => {
    if (!el.parentElement) return void (waiting = setTimeout(begin, 100));  // not in the page yet
    watcher.observe(el.parentElement, {childList: true});
    name();
  };
  begin();
  return () => { clearTimeout(waiting); watcher.disconnect(); };
}
